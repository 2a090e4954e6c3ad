"""Phone numbers: written in a form that only they have, or beside a word such as "Phone:".

Documentation is full of digits (versions, dates, ISBNs, tables), so a bare row of digits is never one.
Taken are: international numbers that `phonenumbers` (Google's metadata) calls valid, or possible ones in
groups; the forms (555) 010-4477, 555-010-4477 and (03) 5327 5996; numbers with a phone word before or
after them; and for the regions that the options name, numbers valid there that are written in groups or
with a leading 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from curate.text.pii.spans import Found

_WRITTEN = re.compile(r"\(?\+?[0-9](?:[ ()./-]{0,3}[0-9]){6,19}")
_EXTENSION = re.compile(r" ?(?:x|ext\.? ?|extension )[0-9]{1,6}", re.IGNORECASE)
_NORTH_AMERICAN = re.compile(r"(?:1[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}-)[0-9]{3}-[0-9]{4}")
_AREA_IN_BRACKETS = re.compile(r"\(0[0-9]{1,4}\)[ -]?[0-9]{2,8}(?:[ -][0-9]{2,8}){0,3}")
_DATE = re.compile(
    r"(?:(?:19|20)[0-9]{2}([-/. ])[0-9]{1,2}\1[0-9]{1,2}|(?:19|20)[0-9]{2} ?[-/] ?(?:19|20)[0-9]{2}"
    r"|[0-9]{1,2}([-/.])[0-9]{1,2}\2(?:19|20)?[0-9]{2})(?![-/.]?[0-9])"
)
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")

_NOUNS = (
    "tel|phones?|telephones?|telefax|fax|mobile|cellphone|hotline|whatsapp|telefon[eo]?|telefonnummer|rufnummer"
    "|téléphone|tél|teléfono|móvil|celular|móvel|telemóvel|cellulare|tlf|telefoon|faks|puhelin|тел|телефон|факс"
    "|τηλ|τηλέφωνο"
)
_WITH_COLON = "desk|office|home|work|cell|mobil|handy|portable|gsm|contact|kontakt|direct"
_GLUE = r"(?:[ \t]{1,2}(?:numbers?|no|nr|is|us|me|him|her|them|at|on|to|under|or|unter|work|home|office)\b\.?){0,3}"
_ASIAN = "電話|電話番号|电话|傳真|传真|手机|携帯|전화|전화번호|팩스|휴대폰|연락처"
_NOUN_BEFORE = re.compile(
    rf"(?:\b(?:{_NOUNS})\b\.?{_GLUE}[ \t]{{0,3}}[:=#(]{{0,2}}\s{{0,3}}|\b(?:{_WITH_COLON}) ?:\s{{0,3}}|(?:{_ASIAN})[:( ]{{0,3}})$",
    re.IGNORECASE,
)
_VERB_BEFORE = re.compile(
    rf"\b(?:(?:call|dial|ring|anrufen|appelez|llame){_GLUE}|(?:reach|contact|text|sms|answering)(?! [0-9]){_GLUE})[ \t:]{{1,3}}$",
    re.IGNORECASE,
)
_NOUN_AFTER = re.compile(
    r" ?-? ?\(?(?:office|fax|mobile|cell|phone|tel|desk|home)\)?(?![^\n,;.)/\\-])", re.IGNORECASE
)


def find(text: str, at: int, regions: tuple[str, ...]) -> Found | None:
    """The phone number that starts at `at`; `regions` are ISO 3166 codes for numbers without a prefix."""
    match = _WRITTEN.match(text, at)
    if match is None or _joined_before(text, at):
        return None
    # What follows in the same row may be something else: the longest head that is a number is taken.
    for end in _ends(match.group()):
        value = _value(text, at, at + end, regions)
        if value is not None:
            extension = _EXTENSION.match(text, at + end)
            return Found(at, extension.end() if extension else at + end, value)
    return None


def _joined_before(text: str, at: int) -> bool:
    """Whether a word, or a number with a sign, runs into the place. A "+" starts a number even there."""
    last = text[at - 1] if at else " "
    if text[at] == "+":
        return last == "+"
    if last in ".,:/-":
        return at > 1 and text[at - 2].isdigit()
    return last in "_$+<" or (last.isascii() and last.isalnum())


def _ends(written: str) -> Iterator[int]:
    """Ends of the groups of digits after which 7 to 15 digits stand, the longest first."""
    digits, ends = 0, []
    for place, character in enumerate(written):
        if character.isdigit():
            digits += 1
            if 7 <= digits <= 15 and not written[place + 1 : place + 2].isdigit():
                ends.append(place + 1)
    return reversed(ends)


def _value(text: str, start: int, end: int, regions: tuple[str, ...]) -> str | None:
    """The number text[start:end] as E.164, or as its digits where no region is known; None if it is none."""
    written = text[start:end]
    if written.count("(") != written.count(")"):
        return None
    number = written.replace("(+", "+").replace(")", "", 1) if written.startswith("(+") else written
    if number.startswith("00") and number[2:3] not in ("0", ""):
        value = e164("+" + number[2:], None) if _grouped(written) else None
        if value is not None:
            return value
    if number.startswith("+"):
        valid = e164(number, None)
        possible = valid is None and (_grouped(number) or _labelled(text, start, end, written))
        return valid or (e164(number, None, valid=False) if possible else None)
    after = text[end : end + 2]
    if (
        re.match(r"[A-WYZa-wyz0-9_]|[.,:/-][0-9]", after)
        or _DATE.match(written)
        or not _phone_groups(written)
    ):
        return None
    for region in regions:
        value = e164(written, region) if _grouped(written) or written.startswith("0") else None
        if value is not None:
            return value
    formed = _NORTH_AMERICAN.fullmatch(written) or _AREA_IN_BRACKETS.fullmatch(written)
    return re.sub("[^0-9]", "", written) if formed or _labelled(text, start, end, written) else None


def _grouped(written: str) -> bool:
    return not written.lstrip("+(").isdigit()


def _phone_groups(written: str) -> bool:
    """Whether all groups after the first have two digits or more, and it is no decimal fraction."""
    groups = re.findall("[0-9]+", written)
    return all(len(group) > 1 for group in groups[1:]) and _DECIMAL.fullmatch(written) is None


def _labelled(text: str, start: int, end: int, written: str) -> bool:
    """Whether a phone word stands before or after the number."""
    before = text[max(0, start - 48) : start]
    if _NOUN_BEFORE.search(before):
        return True
    if not _grouped(written) and not written.startswith("0"):
        return False
    extension = _EXTENSION.match(text, end)
    return bool(_VERB_BEFORE.search(before) or _NOUN_AFTER.match(text, extension.end() if extension else end))


@lru_cache(maxsize=4096)
def e164(written: str, region: str | None, valid: bool = True) -> str | None:
    """The number in E.164 form (+442079460958), or None where it is not valid (or not even possible)."""
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    judged = phonenumbers.is_valid_number(number) if valid else phonenumbers.is_possible_number(number)
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)) if judged else None
