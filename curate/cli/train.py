"""`curate train tokenizer` and `curate train classifier`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from curate.cli.options import Count, Json, Lake, Name, quoted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.engine.classify import TrainedClassifier
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


def classifier(
    source: str,
    /,
    *,
    output: Annotated[str, Parameter(name=["--output", "-o"])] = "classifier.ftz",
    text_key: Annotated[str, Parameter(name="--text")] = "text",
    label_key: Annotated[str, Parameter(name="--label")] = "label",
    epochs: Count = 5,
    subwords: bool = True,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Train a classifier on labelled texts, and show how it does.

    Shows precision and recall at each threshold for one text in five that it was not trained on. The model is a small
    fastText model for the stage `classifier`; beside it lies a card (.json) with the same numbers and what it was made
    of. The same rows and options give the same file.

    **Example:**

    ```console
    $ curate train classifier labels.jsonl -o quality.ftz
    ```

    Parameters
    ----------
    source
        JSON lines with a text and a label each, also .gz, .zst or .xz.
    output
        The file, or a folder for a classifier.ftz. A file that is there is not replaced.
    text_key
        The key of the text.
    label_key
        The key of the label: one word, a number, true or false.
    epochs
        How often each text is seen.
    subwords
        Learn parts of words too: better with few texts and in languages with many word forms, slower with many.
    seed
        Another seed gives another model.
    """
    from dataclasses import asdict

    from curate.cli.terminal import messages, show, show_json
    from curate.engine.classify import train_classifier
    from curate.models.training import Fit
    from schemas.errors import UsageError

    if epochs < 1 or seed < 0:
        raise UsageError(
            f"--epochs {epochs} --seed {seed} cannot be.", hint="--epochs from 1, --seed from 0."
        )
    fit = Fit(epochs=epochs, subwords=subwords, seed=seed)
    with messages().status("training"):
        trained = train_classifier(source, output, text=text_key, label=label_key, fit=fit)
    if as_json:
        show_json(asdict(trained))
    else:
        show(*_told_classifier(trained))


def _told_classifier(trained: TrainedClassifier) -> list[RenderableType]:
    from curate.cli.outcome import near
    from curate.cli.terminal import table_of, text
    from curate.reports.numbers import plural, size

    # Of two labels one tells all; of more, each at the usual threshold.
    names = [min(trained.labels, key=lambda name: trained.labels[name])]
    shown = [(name, score) for name in names for score in trained.table[name]]
    if len(trained.labels) > 2:
        names = list(trained.labels)
        shown = [(name, score) for name in names for score in trained.table[name] if score.threshold == 0.5]
    rows = [
        {
            "label": name,
            "score from": f"{score.threshold:g}",
            "precision": f"{score.precision:.3f}",
            "recall": f"{score.recall:.3f}",
            "texts": f"{score.share:.1%}",
        }
        for name, score in shown
    ]
    file, learned = near(trained.file), plural(trained.trained, "text")
    return [
        table_of(rows, right=("score from", "precision", "recall", "texts")),
        text(f"Of {plural(trained.held_out, 'text')} held out; all labels are in {near(trained.card)}."),
        text(f"{file}: {size(trained.bytes)}, of {learned}{', as before' * trained.unchanged}"),
        text("To use it, in curate.toml, with a threshold of this table:"),
        text("  [filtered.classifier]"),
        text(f"  model = {quoted(file)}"),
        text(f"  label = {quoted(names[0])}"),
        text(f'  drop.other = "score < 0.5"   # keeps {names[0]}; ">= 0.5" drops it'),
    ]


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
