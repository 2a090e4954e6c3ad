"""Write curate/text/data/english.npz: the character classes and special cases of spaCy's English tokenizer.

Needs the group `dev` (spaCy, datatrove) and takes about ten seconds. The classes are asked of spaCy's own
compiled expressions, so that nothing is copied by hand. Run it after a new version of either, and read what
`tests/test_english.py` says: the kernels know the shape of the expressions, this file only their characters.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spacy
from datatrove.utils.text import PUNCTUATION_SET
from spacy.lang import char_classes
from spacy.lang.lex_attrs import is_punct
from spacy.pipeline import Sentencizer
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

from curate.text.english import lexicon

UNICODE = "14.0.0"  # as curate.text.unicode: a text is cut alike under every Python


def _classes(tokenizer: Tokenizer) -> np.ndarray:
    """Int32 rows (first code point, bits), one a run of equal code points."""
    single: dict[int, Callable[[str], object]] = {
        lexicon.PREFIX: tokenizer.prefix_search,
        lexicon.SUFFIX: tokenizer.suffix_search,
        lexicon.INFIX: lambda c: any(match.start() == 1 for match in tokenizer.infix_finditer(f"\1{c}\1")),
        lexicon.STOP: lambda c: (found := tokenizer.suffix_search(c + ".")) and found.start() == 1,
        lexicon.LOWER: re.compile(f"[{char_classes.ALPHA_LOWER}]").match,
        lexicon.UPPER: re.compile(f"[{char_classes.ALPHA_UPPER}]").match,
        lexicon.ALPHA: re.compile(f"[{char_classes.ALPHA}]").match,
        lexicon.QUOTE: re.compile(f"[{char_classes.CONCAT_QUOTES}]").match,
        lexicon.HOST: re.compile("[A-Za-z0-9\u00a1-\uffff]").match,
        lexicon.SCHEME: re.compile(r"[\w\+\-\.]").match,
        lexicon.DIGIT: re.compile(r"\d").match,
        lexicon.WORDY: lambda c: c not in PUNCTUATION_SET,
        lexicon.LETTER: str.isalpha,
        lexicon.PUNCT: is_punct,
        lexicon.END: set(Sentencizer.default_punct_chars).__contains__,
        lexicon.SPACE: str.isspace,
    }
    bits = np.full(0x110000, lexicon.WORDY, np.int32)  # from plane 4 on there are no letters and no marks
    bits[0xD800:0xE000] = 0
    for point in itertools.chain(range(0xD800), range(0xE000, 0x40000)):
        bits[point] = sum(bit for bit, holds in single.items() if holds(chr(point)))
    starts = np.flatnonzero(np.diff(bits, prepend=-1))
    return np.stack([starts, bits[starts]], axis=1).astype(np.int32)


def _units(tokenizer: Tokenizer) -> set[str]:
    """What is cut off behind a digit."""
    units = {piece.replace("\\", "") for piece in char_classes.LIST_CURRENCY} | {"+"}
    units |= set(char_classes.UNITS.split("|"))
    for unit in units:
        found = tokenizer.suffix_search(f"a1{unit}")
        assert found, unit
        assert found.group() == unit
    return units


def _entries(nlp: spacy.Language) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the lexicon (see `curate.text.english.lexicon`), and their strings one after the other."""
    tokenizer = nlp.tokenizer
    specials = {
        text: [part[ORTH] for part in parts]
        for text, parts in tokenizer.rules.items()
        if not any(map(str.isspace, text))
    }
    bare = Tokenizer(
        nlp.vocab,
        rules={},
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        url_match=tokenizer.url_match,
    )
    patterns = {}
    for text, parts in specials.items():
        if tokenizer.find_prefix(text) or tokenizer.find_infix(text) or tokenizer.find_suffix(text):
            pattern = [token.text for token in bare(text)]
            if len(pattern) > 1:
                patterns[text] = pattern
            else:
                assert parts == pattern, f"{text}: a rule of one token changes nothing"
    symbols = {token: i + 1 for i, token in enumerate(sorted(set(itertools.chain(*patterns.values()))))}
    assert len(symbols) < 256, "a symbol is a byte"
    units = _units(tokenizer)
    texts = sorted({*specials, *symbols, *units})
    rows = np.zeros((len(texts), lexicon.COLUMNS), np.int16)
    for row, text in zip(rows, texts, strict=True):
        row[lexicon.SIZE] = len(text.encode())
        row[lexicon.SYMBOL] = symbols.get(text, 0)
        row[lexicon.UNIT] = text in units
        for column, tokens in (
            (lexicon.RULE, specials.get(text, [])),
            (lexicon.PATTERN, patterns.get(text, [])),
        ):
            sizes = [len(token.encode()) for token in tokens]
            row[column : column + 1 + len(sizes)] = [len(sizes), *sizes]
    for first, second in itertools.pairwise([lexicon.RULE, lexicon.PATTERN, lexicon.COLUMNS]):
        assert rows[:, first].max() < second - first
    return rows, np.frombuffer("".join(texts).encode(), np.uint8)


def build() -> dict[str, np.ndarray]:
    """The arrays of the file."""
    if unicodedata.unidata_version != UNICODE:
        raise SystemExit(f"This Python has Unicode {unicodedata.unidata_version}, not {UNICODE}.")
    nlp = spacy.blank("en")
    prefixes = {
        match.group() for text in ("US$", "C$", "A$") if (match := nlp.tokenizer.prefix_search(text + "a"))
    }
    assert prefixes == {"US$", "C$", "A$"}
    rows, text = _entries(nlp)
    return {"classes": _classes(nlp.tokenizer), "entries": rows, "text": text}


def main() -> None:
    """Write the file."""
    file = Path(lexicon.FILE)
    np.savez_compressed(file, **build())


if __name__ == "__main__":
    main()
