"""International bank account numbers: country, length and checksum (ISO 13616, mod 97 of ISO 7064)."""

from __future__ import annotations

import re

from curate.text.pii.spans import Found

_WRITTEN = re.compile(r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11,34}")

# Length by country: SWIFT IBAN registry, release 99.
_LENGTHS = {
    code: length
    for length, codes in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for code in codes.split()
}


def find(text: str, at: int) -> Found | None:
    """The account number that starts at `at`, with or without spaces or hyphens between groups."""
    length = _LENGTHS.get(text[at : at + 2].upper())
    match = _WRITTEN.match(text, at) if length else None
    if length is None or match is None:
        return None
    characters = [place for place in range(at, match.end()) if text[place] not in " -"]
    if len(characters) < length:
        return None
    end = characters[length - 1] + 1
    if text[end : end + 1].isascii() and text[end : end + 1].isalnum():
        return None
    value = "".join(text[place] for place in characters[:length]).upper()
    return Found(at, end, value) if mod97(value) == 1 else None


def mod97(value: str) -> int:
    """Remainder by 97 with the first four characters last and letters as 10 to 35; 1 for a valid IBAN.

    >>> mod97("GB33BUKB20201555555555")
    1
    """
    return int("".join(str(int(character, 36)) for character in value[4:] + value[:4])) % 97
