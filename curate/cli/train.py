"""`curate train tokenizer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from curate.cli.options import Json, Lake, Name, quoted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.engine.vocabulary import Trained


def tokenizer(
    *,
    vocab: int = 32_000,
    kind: Literal["bpe", "unigram"] = "bpe",
    output: Annotated[str, Parameter(name=["--output", "-o"])] = "tokenizer.json",
    where: Annotated[str, Parameter(show_default=False)] = "",
    sample_mb: float = 200,
    lake: Lake = "lake",
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Train a tokenizer on the corpus, and show how it does.

    Shows bytes per token, by language, of one document in twenty that it was not trained on. The same corpus and
    options give the same file.

    **Example:**

    ```console
    $ curate train tokenizer --vocab 300
    ```

    Parameters
    ----------
    vocab
        How many tokens: 256 bytes, two special tokens, and what is learned.
    kind
        bpe: byte-level BPE, as GPT-2's. unigram: over the same bytes; ten times as long to train, and slower to use.
    output
        The file, or a folder for a tokenizer.json. A file that is there is not replaced.
    where
        Only documents for which this is true, as in a rule: language = 'en'.
    sample_mb
        Train on a sample of so many million characters, drawn by the hash of ids.
    """
    from dataclasses import asdict

    from curate.cli.terminal import messages, show, show_json
    from curate.engine.vocabulary import train_tokenizer

    with messages().status("training"):
        trained = train_tokenizer(
            lake, output, name=name, vocab=vocab, kind=kind, where=where, sample_mb=sample_mb
        )
    if as_json:
        show_json({**asdict(trained), "bytes_per_token": _rates(trained)})
    else:
        show(*_told(trained))


def _rates(trained: Trained) -> dict[str, float]:
    """Bytes per token of what was held out, by language."""
    return {
        language: count.bytes / count.tokens for language, count in trained.held_out.items() if count.tokens
    }


def _told(trained: Trained) -> list[RenderableType]:
    from curate.cli.outcome import near
    from curate.cli.terminal import table_of, text
    from curate.reports.numbers import plural, size

    rates = _rates(trained)
    rows = [
        {
            "language": language or "not known",
            "held out": plural(count.documents, "document"),
            "bytes": f"{count.bytes:,}",
            "tokens": f"{count.tokens:,}",
            "bytes per token": f"{rates[language]:.2f}" if language in rates else "",
        }
        for language, count in trained.held_out.items()
    ]
    file = near(trained.file)
    learned = f"{plural(trained.documents, 'document')} ({size(trained.bytes)})"
    told = [table_of(rows, right=("held out", "bytes", "tokens", "bytes per token"))] if rows else []
    return [
        *told,
        text(
            f"{file}: {trained.vocabulary:,} tokens ({trained.kind}) of {learned}{', as before' * trained.unchanged}"
        ),
        text("To make token ids with it, in curate.toml:"),
        text("  [tokens.tokenize]"),
        text(f"  tokenizer = {quoted(file)}"),
    ]
