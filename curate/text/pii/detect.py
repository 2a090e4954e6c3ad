"""All detectors over a column of texts: which values stand where, and the text without them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.text.pii import card, email, iban, ip, phone
from curate.text.pii.fold import Folded, fold
from curate.text.pii.spans import Found, Span, masked, merge, replace
from curate.text.pii.triggers import KINDS, triggers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Allowed:
    """Values that stay: whole domains with their subdomains, single addresses, networks, phone numbers."""

    domains: tuple[str, ...] = ()
    addresses: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    phones: frozenset[str] = frozenset()

    def keeps(self, kind: str, value: str) -> bool:
        """Whether a normalised value of a kind stays in the text."""
        if kind == "email":
            domain = value.rpartition("@")[2]
            return value in self.addresses or any(
                domain == own or domain.endswith("." + own) for own in self.domains
            )
        if kind == "ip" and self.networks:
            address = ipaddress.ip_address(value)
            return any(address in network for network in self.networks)
        return kind == "phone" and value in self.phones


@dataclass(frozen=True)
class Rules:
    """What to look for, and what stays."""

    kinds: frozenset[str]
    allowed: Allowed
    regions: tuple[str, ...]
    private_ips: bool


# A value may touch another one that hides it (two numbers without a space between them), so a text is
# read again with what was found masked. Only texts in which more values than this touch keep any.
_ROUNDS = 16


def find_spans(text: pa.LargeStringArray, rules: Rules) -> dict[int, list[Span]]:
    """The spans of each row that holds a value, in characters of the text, in order and without overlap."""
    folded = fold(text)
    found: dict[int, list[Span]] = {}
    column, rows = folded.text, list(range(len(text)))
    for _ in range(_ROUNDS):
        spans = _read(column, rules)
        if not spans:
            break
        column = pa.array([masked(column[at].as_py(), new) for at, new in spans.items()], pa.large_string())
        rows = [rows[at] for at in spans]
        for row, new in zip(rows, spans.values(), strict=True):
            found.setdefault(row, []).extend(new)
    return {row: _unfolded(folded, row, sorted(spans)) for row, spans in sorted(found.items())}


def _read(column: pa.LargeStringArray, rules: Rules) -> dict[int, list[Span]]:
    """Spans by row of a folded column. Rows without a trigger never become Python objects."""
    rows, kinds, places = triggers(column, rules.kinds)
    with_trigger, firsts = np.unique(rows, return_index=True)
    found = {}
    for row, first, last in zip(with_trigger.tolist(), firsts, [*firsts[1:], len(rows)], strict=False):
        spans = _row_spans(
            column[row].as_py(), kinds[first:last].tolist(), places[first:last].tolist(), rules
        )
        if spans:
            found[row] = spans
    return found


def _unfolded(folded: Folded, row: int, spans: list[Span]) -> list[Span]:
    """The spans with positions in the original text."""
    ends = np.array([(span.start, span.end - 1) for span in spans], np.int64)
    places = folded.original(row, ends.ravel()).reshape(-1, 2).tolist()
    return [
        span._replace(start=first, end=last + 1) for span, (first, last) in zip(spans, places, strict=True)
    ]


def _row_spans(text: str, kinds: list[int], places: list[int], rules: Rules) -> list[Span]:
    """Spans of one folded text, merged. A kind that comes first in KINDS wins where two overlap."""
    by_kind: list[list[Span]] = [[] for _ in KINDS]
    ends = [0] * len(KINDS)
    for kind, at in zip(kinds, places, strict=True):
        if at < ends[kind]:
            continue
        found = _find(KINDS[kind], text, at, rules)
        if found is not None and not rules.allowed.keeps(KINDS[kind], found.value):
            by_kind[kind].append(Span(found.start, found.end, KINDS[kind], found.value))
            ends[kind] = found.end
    return merge((span for spans in by_kind for span in spans), len(text))


def _find(kind: str, text: str, at: int, rules: Rules) -> Found | None:
    if kind == "email":
        return email.find(text, at)
    if kind == "iban":
        return iban.find(text, at)
    if kind == "card":
        return card.find(text, at)
    if kind == "ip":
        return ip.find(text, at, rules.private_ips)
    return phone.find(text, at, rules.regions)


def redact(text: pa.LargeStringArray, rules: Rules) -> tuple[pa.LargeStringArray, dict[int, list[Span]]]:
    """The column with placeholders, and the spans of each row that changed."""
    spans = find_spans(text, rules)
    if not spans:
        return text, spans
    changed = np.zeros(len(text), np.bool_)
    changed[list(spans)] = True
    texts = [replace(text[row].as_py(), found) for row, found in spans.items()]
    return pc.replace_with_mask(text, pa.array(changed), pa.array(texts, pa.large_string())), spans
