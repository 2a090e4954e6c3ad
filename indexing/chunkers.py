"""Texts to passages: `text[start:end] == passage`, never more tokens than the embedder reads.

A text is tokenized once; every possible cut gets a rank (inside a word, between words, sentences, blocks, before a
heading), and a passage ends at the best-ranked cut that fits. Between two passages of a text nothing but
white space is lost. The three chunkers differ in the ranks they look at:

    tokens     words: every passage is as long as it may be
    sentences  sentences, where one ends in the last three quarters of the passage
    markdown   headings and blocks too; code blocks and tables stay whole where they fit
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexing.embedder import Embedder
from indexing.structure import BLOCK, HEADING, INSIDE, SENTENCE, WORD, Structure, find_structure
from schemas.errors import IndexingError
from schemas.index import IndexOptions

Ints = npt.NDArray[np.int64]

CHUNKER = 1  # goes up when the same text gives other passages

SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("ordinal", pa.int32()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("tokens", pa.int32()),
        ("text", pa.large_string()),
        ("heading", pa.string()),
    ]
)

_SEGMENT = 100_000  # characters tokenized at once, so that a huge text needs no huge memory
_BATCH = 2_000_000  # characters in one call of the tokenizer, which spreads it over the cores
_LONGEST = 16  # characters per token of a passage: a word of BERT may be one [UNK] of a megabyte

# Tokenizers that treat a text cut at white space as two texts; passages of all others are counted again.
_SPLIT_AT_SPACE = {"BertPreTokenizer", "WhitespaceSplit", "Whitespace"}


@dataclass
class _Passage:
    row: int
    start: int
    end: int
    tokens: int  # without special tokens; -1: to be counted


def chunk(texts: pa.LargeStringArray, options: IndexOptions, embedder: Embedder) -> pa.Table:
    """Cut texts into passages.

    Args:
        texts: no NULL.
        options: chunker, chunk_tokens (with special tokens and prompt), overlap.
        embedder: whose tokens are counted.

    Returns:
        One row per passage, in order: row (int32, index into `texts`), ordinal (int32), start and end (int64,
        characters), tokens (int32, all that the embedder reads), text, heading (path of the section, "A > B",
        for markdown). Texts of white space alone have none.

    Raises:
        IndexingError: chunk_tokens is more than the embedder reads.
    """
    check_options(options, embedder)
    tokenizer = embedder.tokenizer
    extra = tokenizer.num_special_tokens_to_add(False) + len(
        tokenizer.encode(embedder.passage_prompt, add_special_tokens=False).ids
    )
    cutter = _Cutter(options, tokenizer, options.chunk_tokens - extra)
    parts = [cutter.cut(batch) for batch in _batches(texts.to_pylist())]
    return _table([part for part in parts if part], extra)


def check_options(options: IndexOptions, embedder: Embedder) -> None:
    """Refuse passages of which the embedder would read only a part.

    Raises:
        IndexingError: chunk_tokens is more than the embedder reads.
    """
    if options.chunk_tokens > embedder.max_tokens:
        raise IndexingError(
            f"chunk_tokens is {options.chunk_tokens}, but {embedder.name} reads {embedder.max_tokens} tokens and would cut the rest.",
            hint=f"Set chunk_tokens = {embedder.max_tokens} or less under [index], or choose another embedder.",
        )


@dataclass(frozen=True)
class _Text:
    row: int
    text: str
    structure: Structure


def _batches(texts: list[str]) -> Iterator[list[_Text]]:
    """Texts in groups of about `_BATCH` characters."""
    batch: list[_Text] = []
    size = 0
    for row, text in enumerate(texts):
        batch.append(_Text(row, text, find_structure(text)))
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Cutter:
    """Cuts batches of texts for one tokenizer and limit (tokens without special ones)."""

    def __init__(self, options: IndexOptions, tokenizer: Any, limit: int) -> None:
        self.kind = options.chunker
        self.overlap = options.overlap
        self.limit = limit
        self.tokenizer = tokenizer
        self.separable = _splits_at_space(tokenizer)

    def cut(self, texts: list[_Text]) -> list[tuple[_Text, list[_Passage]]]:
        """The passages of each text, in order."""
        segments = [(text, start, end) for text in texts for start, end in _segments(text.text)]
        encodings = self.tokenizer.encode_batch(
            [text.text[start:end] for text, start, end in segments], add_special_tokens=False
        )
        found: dict[int, list[_Passage]] = {text.row: [] for text in texts}
        for (text, start, end), encoding in zip(segments, encodings, strict=True):
            found[text.row] += self._cut_segment(text, start, end, encoding)
        passages = self._recount(
            {text.row: text.text for text in texts}, [one for text in texts for one in found[text.row]]
        )
        for text in texts:
            found[text.row] = []
        for passage in passages:
            # What repeats the end of the one before, and white space, adds nothing.
            if not found[passage.row] or passage.end > found[passage.row][-1].end:
                found[passage.row].append(passage)
        return [(text, found[text.row]) for text in texts]

    def _cut_segment(self, text: _Text, start: int, end: int, encoding: Any) -> Iterator[_Passage]:
        """Passages of one segment; their tokens are -1 where a cut may have changed the tokens beside it."""
        tokens = _Tokens(text, start, end, encoding)
        at = reached = 0
        while reached < tokens.count:
            stop = self._stop(tokens, at, reached)
            first, last = tokens.edge(at), tokens.edge(stop)
            whole = self.separable and tokens.spaced(at) and tokens.spaced(stop)
            yield from _strip(text, first, last, stop - at if whole else -1, self.limit * _LONGEST)
            at, reached = self._back(tokens, at, stop), stop
        if not tokens.count:
            yield from _strip(text, start, end, -1, self.limit * _LONGEST)

    def _stop(self, tokens: _Tokens, at: int, reached: int) -> int:
        """The token before which the passage that begins with token `at` ends."""
        most = tokens.fitting(at, self.limit, self.limit * _LONGEST)
        ranks = tokens.ranks[reached + 1 : most + 1]

        def last(rank: int, share: float = 0.0) -> int:
            found = np.flatnonzero(ranks >= rank)
            stop = reached + 1 + int(found[-1]) if len(found) else 0
            return stop if stop - at >= share * self.limit else 0

        if self.kind == "markdown":
            headings = reached + 1 + np.flatnonzero(ranks == HEADING)
            headings = headings[headings - at >= self.limit / 4]
            if len(headings):
                return int(headings[0])
        if most == tokens.count:
            return most
        if self.kind == "markdown":
            stop = tokens.before_whole(most, self.limit)
            return (
                stop
                if stop > reached
                else last(BLOCK, 0.5) or last(SENTENCE, 0.25) or last(WORD) or last(INSIDE) or most
            )
        if self.kind == "sentences":
            return last(SENTENCE, 0.25) or last(WORD) or last(INSIDE) or most
        return last(WORD) or last(INSIDE) or most

    def _back(self, tokens: _Tokens, at: int, stop: int) -> int:
        """Where the next passage begins: `overlap` tokens before `stop`, at a word."""
        if not self.overlap or stop == tokens.count:
            return stop
        low = max(at + 1, stop - self.overlap)
        words = np.flatnonzero(tokens.ranks[low:stop] >= WORD)
        return low + int(words[0]) if len(words) else stop

    def _recount(self, texts: dict[int, str], passages: list[_Passage]) -> list[_Passage]:
        """Count the tokens of passages that are marked -1, and halve those that are too long."""
        while unknown := [i for i, passage in enumerate(passages) if passage.tokens < 0]:
            slices = [texts[passages[i].row][passages[i].start : passages[i].end] for i in unknown]
            pieces: dict[int, list[_Passage]] = {}
            for i, encoding in zip(
                unknown, self.tokenizer.encode_batch(slices, add_special_tokens=False), strict=True
            ):
                passages[i].tokens = len(encoding.ids)
                if len(encoding.ids) > self.limit and passages[i].end - passages[i].start > 1:
                    pieces[i] = _halve(
                        passages[i], texts[passages[i].row], encoding.offsets[len(encoding.ids) // 2][0]
                    )
            passages = [piece for i, passage in enumerate(passages) for piece in pieces.get(i, [passage])]
        return passages


class _Tokens:
    """The tokens of one segment: where each begins (characters of the whole text), and the rank of a cut before it."""

    def __init__(self, text: _Text, start: int, end: int, encoding: Any) -> None:
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        codes = np.frombuffer(text.text[start:end].encode("utf-32-le", "surrogatepass"), np.uint32)
        self._space = np.isin(codes, _SPACES)
        # Some tokenizers count the space before a word to the word.
        starts = offsets[:, 0]
        solid = np.flatnonzero(~self._space)
        if len(solid) and len(starts):
            starts = solid[np.minimum(np.searchsorted(solid, starts), len(solid) - 1)]
        self.count = len(starts)
        self._first, self._end = start, end
        self._starts = starts
        self._ranks(offsets, text.structure, start)
        self._whole = [
            (int(np.searchsorted(starts, a - start)), int(np.searchsorted(starts, b - start)))
            for a, b in text.structure.whole
            if a >= start and b <= end
        ]

    def _ranks(self, offsets: Ints, structure: Structure, first: int) -> None:
        """`ranks[j]`: of a cut before token j; -1 where two tokens share a character."""
        starts = self._starts
        self.ranks = np.full(self.count + 1, -1, np.int8)
        self.ranks[self.count] = HEADING
        if not self.count:
            return
        apart = (starts[1:] > starts[:-1]) & (offsets[1:, 0] >= offsets[:-1, 1])
        self.ranks[1:-1][apart] = INSIDE
        self.ranks[1:-1][apart & self._space[starts[1:] - 1]] = WORD
        for rank, places in (
            (SENTENCE, structure.sentences),
            (BLOCK, structure.blocks),
            (HEADING, structure.headings),
        ):
            inside = places[(places > first) & (places < first + len(self._space))] - first
            tokens = np.searchsorted(starts, inside)
            tokens = tokens[(tokens > 0) & (tokens < self.count)]
            self.ranks[tokens] = np.where(self.ranks[tokens] >= INSIDE, rank, -1)

    def edge(self, token: int) -> int:
        """Character at which a passage begins or ends that is cut before this token."""
        if token == 0:
            return self._first
        return self._end if token == self.count else self._first + int(self._starts[token])

    def spaced(self, token: int) -> bool:
        """Whether white space, or the end of the segment, stands before this token."""
        return token in (0, self.count) or bool(self._space[self._starts[token] - 1])

    def fitting(self, at: int, limit: int, characters: int) -> int:
        """The last token before which the passage can end: at least one token further."""
        wide = int(np.searchsorted(self._starts, self._starts[at] + characters, "right"))
        return min(self.count, at + limit, max(wide, at + 1))

    def before_whole(self, most: int, limit: int) -> int:
        """The beginning of the code block or table that a cut before `most` would tear though it fits, or 0."""
        return next((a for a, b in self._whole if a < most < b and b - a <= limit), 0)


_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of at most `_SEGMENT` characters, cut after a line or a word where there is one."""
    start = 0
    while len(text) - start > _SEGMENT:
        low, high = start + _SEGMENT // 2, start + _SEGMENT
        cut = max(text.rfind("\n", low, high), -1)
        cut = text.rfind(" ", low, high) if cut < 0 else cut
        end = high if cut < 0 else cut + 1
        yield start, end
        start = end
    yield start, len(text)


def _strip(text: _Text, start: int, end: int, tokens: int, longest: int) -> Iterator[_Passage]:
    """The passage without white space around it; in pieces, to be counted, if it has too many characters."""
    piece = text.text[start:end]
    start += len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    if end - start <= longest:
        if end > start:
            yield _Passage(text.row, start, end, tokens)
        return
    for low in range(start, end, longest):
        yield from _strip(text, low, min(end, low + longest), -1, longest)


def _halve(passage: _Passage, text: str, offset: int) -> list[_Passage]:
    """Two passages, cut at about half of the tokens; both are to be counted."""
    cut = passage.start + min(max(offset, 1), passage.end - passage.start - 1)
    whole = _Text(passage.row, text, Structure.none())
    longest = passage.end - passage.start
    return [*_strip(whole, passage.start, cut, -1, longest), *_strip(whole, cut, passage.end, -1, longest)]


def _splits_at_space(tokenizer: Any) -> bool:
    kind = tokenizer.pre_tokenizer
    if type(kind).__name__ == "Sequence":
        kind = kind[0]
    return type(kind).__name__ in _SPLIT_AT_SPACE


def _table(batches: list[list[tuple[_Text, list[_Passage]]]], extra: int) -> pa.Table:
    found = [
        (text, ordinal, passage)
        for batch in batches
        for text, passages in batch
        for ordinal, passage in enumerate(passages)
    ]
    columns = {
        "row": [text.row for text, _, _ in found],
        "ordinal": [ordinal for _, ordinal, _ in found],
        "start": [passage.start for _, _, passage in found],
        "end": [passage.end for _, _, passage in found],
        "tokens": [passage.tokens + extra for _, _, passage in found],
        "text": [text.text[passage.start : passage.end] for text, _, passage in found],
        "heading": [text.structure.section(passage.start) for text, _, passage in found],
    }
    return pa.table(columns, schema=SCHEMA)
