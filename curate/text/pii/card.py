"""Payment cards: the Luhn checksum, and the prefixes and lengths that issuers use.

Every tenth number passes Luhn, so a number needs an issuer's prefix with its length, or a word such as
"card" before it. Source of the ranges: ISO/IEC 7812 registrations as the networks publish them.
"""

from __future__ import annotations

import re

from curate.text.pii.spans import Found

_WRITTEN = re.compile(
    r"[0-9]{12,19}|[0-9]{4}(?:([ -])[0-9]{4})(?:\1[0-9]{4}){1,2}(?:\1[0-9]{1,4})?|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
)
_JOINED_AFTER = re.compile(r"[0-9A-Za-z_]|[.,-][0-9]")
_JOINED_BEFORE = re.compile(r"(?:[0-9A-Za-z_]|[0-9][.,-]|[.+])$")
# Four groups out of a longer row of them are a table, not a card.
_ROW_AFTER = re.compile(r"[ -][0-9]{4}(?![0-9])")
_ROW_BEFORE = re.compile(r"(?<![0-9])[0-9]{4}[ -]$")
_LABEL = re.compile(
    r"\b(?:cards?|credit|debit|cc|visa|master ?card|maestro|amex|american express|diners|discover|jcb|union ?pay"
    r"|kreditkarte|karte|carte|tarjeta|cartão|carta|kort|карт\w)\b[^\n0-9<>]{0,24}$|(?:カード|卡号|카드)[^\n0-9<>]{0,12}$",
    re.IGNORECASE,
)

# First digits from, to (inclusive), and lengths.
_ISSUERS = (
    ("4", "4", (16,)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14,)),  # Diners Club
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("6011", "6011", (16,)),  # Discover
    ("644", "659", (16,)),
    ("3528", "3589", (16,)),  # JCB
    ("2131", "2131", (15,)),
    ("1800", "1800", (15,)),
    ("62", "62", (16,)),  # UnionPay
    ("5018", "5018", (16,)),  # Maestro
    ("5020", "5020", (16,)),
    ("5038", "5038", (16,)),
    ("6304", "6304", (16,)),
    ("6759", "6763", (16,)),
)
_LABELLED_LENGTHS = range(12, 20)  # all that ISO/IEC 7812 allows and networks issue


def find(text: str, at: int) -> Found | None:
    """The card number that starts at `at`."""
    match = _WRITTEN.match(text, at)
    if match is None:
        return None
    before = text[max(0, at - 6) : at]
    if _JOINED_AFTER.match(text, match.end()) or _JOINED_BEFORE.search(before):
        return None
    grouped = not match.group().isdigit()
    if grouped and (_ROW_AFTER.match(text, match.end()) or _ROW_BEFORE.search(before)):
        return None
    digits = re.sub(r"[ -]", "", match.group())
    if not luhn(digits):
        return None
    if not _issued(digits) and not (
        len(digits) in _LABELLED_LENGTHS and _LABEL.search(text[max(0, at - 48) : at])
    ):
        return None
    return Found(at, match.end(), digits)


def _issued(digits: str) -> bool:
    """Whether an issuer has this prefix and length."""
    return any(
        first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS
    )


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn checksum (ISO/IEC 7812-1, annex B) of the others.

    >>> luhn("4111111111111111")
    True
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and digits.strip("0") != ""
