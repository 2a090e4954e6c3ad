"""Checks: named conditions with numbers. All of them stand here once; a blocking check of an index is a gate.

The reference page `docs/reference/checks.md` and what a table's report can carry are derived from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

Severity = Literal["warning", "blocking"]


class Check(BaseModel):
    """A condition that was tested, whether it held, and the numbers that say why."""

    name: str
    passed: bool
    severity: Severity = "warning"
    numbers: dict[str, float] = {}
    message: str = ""


@dataclass(frozen=True)
class KnownCheck:
    """What is tested, where, and what a failure does: a warning tells, a blocking one ends the run there.

    `tables` are those that always have it, by name or kind: `measured` stands for `filtered`, `corpus` and tables of
    one's own, `deduplicated` for all with a step `exact`, `minhash` or `semantic`.
    """

    severity: Severity
    tables: tuple[str, ...]
    meaning: str


_JUDGED = ("documents", "measured", "deduplicated")

CHECKS: Mapping[str, KnownCheck] = {
    "schema": KnownCheck(
        "blocking",
        ("pages", *_JUDGED),
        "the files of the table have exactly its columns and types",
    ),
    "kept_share": KnownCheck(
        "blocking",
        _JUDGED,
        "the share of documents kept is within `min_kept` and `max_kept` of `[checks.TABLE]`",
    ),
    "kept_share_change": KnownCheck(
        "warning",
        _JUDGED,
        "that share differs from the last run's by at most `max_change` of `[checks.TABLE]`; not in a first run, nor "
        "between runs with different `--limit`",
    ),
    "every_drop_has_reason": KnownCheck(
        "blocking",
        _JUDGED,
        "every document that is dropped has a step and a reason, a duplicate a document that is kept for it",
    ),
    "nothing_lost": KnownCheck(
        "blocking",
        _JUDGED,
        "what the table before kept has reached this one, each document once and nothing else; for documents: every record "
        "of every page (not with `--limit`); for corpus: its rows are the documents kept",
    ),
    "rules_judged": KnownCheck(
        "warning", ("documents", "measured"), "no rule was NULL for a document, which then stays"
    ),
    "errors": KnownCheck(
        "warning", ("documents", "measured"), "no document broke a step or could not be read"
    ),
    "no_exact_duplicate": KnownCheck(
        "blocking", ("deduplicated",), "no two documents kept have the same text; with a step `exact`"
    ),
    "no_near_duplicate": KnownCheck(
        "warning",
        ("deduplicated",),
        "of 200 documents kept, drawn by hash, none is as like another one kept as the threshold of `minhash`; with such a step",
    ),
    "dedup_recall": KnownCheck(
        "warning",
        ("deduplicated",),
        "`minhash` finds as many near-duplicates as its bands promise: pairs planted at a known similarity, and those of a "
        "sample that was compared exactly with all; and of a sample that it dropped each is as like its keeper as the "
        "threshold. With such a step, and `error_sample` not 0",
    ),
    "semantic_recall": KnownCheck(
        "warning",
        ("deduplicated",),
        "`semantic` finds 99 % or more of the pairs that exact comparison finds for 1,000 documents, as far as so many pairs "
        "can tell (Wilson interval); with such a step",
    ),
    "no_personal_data": KnownCheck(
        "blocking",
        ("corpus",),
        "the detectors of `anonymize` find nothing more in any row: text, title, url, place, extra and columns of one's own; "
        "with such a step",
    ),
    "tokens_round_trip": KnownCheck(
        "blocking",
        ("tokens",),
        "of 200 texts, drawn by hash, the ids are those of `tokenizers`, and below the number of its tokens; those of a "
        "byte-level tokenizer, decoded and encoded again, are the same",
    ),
    "chunks_cover": KnownCheck(
        "blocking",
        ("chunks",),
        "a passage is a slice of its text, and between passages there is nothing but white space: all that were cut in this "
        "run, and a sample of 200 texts of what is stored. What fails is not stored",
    ),
    "vectors_sound": KnownCheck(
        "blocking",
        ("vectors",),
        "vectors made in this run have the embedder's dimension, are finite and have length 1. What fails is not stored",
    ),
    "tables_passed": KnownCheck(
        "blocking",
        ("index_candidate",),
        "no table that the candidate is made from has failed a blocking check",
    ),
    "coverage": KnownCheck(
        "blocking", ("index_candidate",), "every document of the corpus has passages, and no other has"
    ),
    "vectors": KnownCheck("blocking", ("index_candidate",), "every vector is finite and has length 1"),
    "recall": KnownCheck(
        "blocking",
        ("index_candidate",),
        "the search finds `min_recall` of the ten nearest that exact search finds",
    ),
    "filter_recall": KnownCheck(
        "blocking",
        ("index_candidate",),
        "so it does with filters that leave little, and gives as many as there are",
    ),
    "self_retrieval": KnownCheck(
        "blocking",
        ("index_candidate",),
        "passages that are embedded anew find themselves, and are found by their words",
    ),
    "overlap": KnownCheck(
        "warning", ("index_candidate",), "half of the documents found are those that the live version finds"
    ),
    "no_leak": KnownCheck(
        "blocking", ("finetune",), "no document of one split has a near-duplicate in another"
    ),
    "rows_accounted": KnownCheck(
        "blocking", ("finetune",), "every document that was chosen is in the files or left out for a reason"
    ),
    "mixture": KnownCheck(
        "warning", ("finetune",), "no source of the mixture misses its share of the tokens by more than 1 %"
    ),
    "splits_filled": KnownCheck("warning", ("finetune",), "every split has a document"),
    "file_size": KnownCheck("warning", ("finetune",), "no file is more than twice as large as shard_mb"),
}


def judged(name: str, passed: bool, numbers: Mapping[str, float] | None = None, message: str = "") -> Check:
    """A check of that name as it came out; the message is told only where it failed."""
    return Check(
        name=name,
        passed=passed,
        severity=CHECKS[name].severity,
        numbers=dict(numbers or {}),
        message="" if passed else message,
    )
