"""Hostile texts: what is legal UTF-8 and yet strains whatever measures, cuts or rewrites text.

`TEXTS[name](size)` is a text of about `size` characters. `SPELLS` are short pieces for texts drawn at random.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable

from tests.lakes import text

Text = Callable[[int], str]


def _filled(piece: str) -> Text:
    return lambda size: (piece * (size // len(piece) + 1))[:size]


def _decomposed(piece: str) -> Text:
    return _filled(unicodedata.normalize("NFD", piece))


def thue_morse(order: int, zero: str = "a", one: str = "b") -> str:
    """The Thue-Morse word of 2^order letters.

    From order 10 on, it and the word with its letters exchanged have the same polynomial hash modulo 2^64, whatever the
    base (Pachocki and Radoszewski 2013, "Where to use and how not to use polynomial string hashing").
    """
    return "".join(one if number.bit_count() % 2 else zero for number in range(1 << order))


_COLLIDING = (thue_morse(10), thue_morse(10, "b", "a"))


def _collisions(between: str) -> Text:
    """Different words or lines with one polynomial hash: all rows of the two blocks, in order."""

    def filled(size: int) -> str:
        chance = random.Random(size)
        pieces = ("".join(chance.choice(_COLLIDING) for _ in range(8)) for _ in range(size // 8192 + 1))
        return between.join(pieces)[: max(size, 2 * 1024 + 1)]

    return filled


def _random(alphabet: str) -> Text:
    return lambda size: "".join(random.Random(size).choices(alphabet, k=size))


TEXTS: dict[str, Text] = {
    "prose": lambda size: text(size, size // 6 + 1),
    "one word": _filled("word "),
    "one word a line": _filled("word\n"),
    "one letter": _filled("a"),
    "no space": _random("abcdefghijklmnopqrstuvwxyz"),
    "no space and no ASCII": _random("äöüßéèñçøå"),
    "one line": _filled("the boats leave before dawn and the gulls circle "),
    "line ends": _filled("\n"),
    "spaces": _filled(" "),
    "white space of all kinds": _filled("\t \u3000\u2003\xa0\r\n\x0b\x0c\x1c\x85\u2028\u2029"),
    "carriage returns": _filled("One line.\r\nTwo lines.\rThree.\n\r\n"),
    "paragraphs": _filled("The same words again.\n\n"),
    "blank lines": _filled("word\n\n\n\n \n"),
    "nul": _filled("\x00"),
    "nul between words": _filled("word\x00 \x00word "),
    "control characters": _filled("".join(map(chr, range(32))) + "\x7f\x80\x9f text "),
    "escape sequences": _filled("\x1b[31mred\x1b[0m \x1b]0;title\x07 "),
    "emoji": _filled("👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪 1️⃣ "),
    "flags": _filled("🇩🇪🇫🇷"),
    "right to left": _filled("\u202bשלום עולם\u202c مرحبا بالعالم، كيف حالك؟ "),
    "bidi controls": _filled("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069word "),
    "hangul jamo": _decomposed("안녕하세요 세계 여러분, 항구는 일찍 문을 엽니다. "),
    "combining marks": lambda size: "x" + _filled("\u0301\u0338\u0323")(size),
    "marks on every letter": _decomposed("ế ộ ữ ậ ǟ ṩ "),
    "zero width": _filled("w\u200bo\u200cr\u200dd\u2060\ufeff "),
    "variation selectors": _filled("a\ufe0f\ufe00\U000e0100"),
    "tags": _filled("\U0001f3f4\U000e0067\U000e0062\U000e007f "),
    "noncharacters": _filled("\ufffe\uffff\U0001fffe\U0010ffff\ufdd0 "),
    "private use": _filled("\ue000\uf8ff\U000f0000 "),
    "replacement": _filled("\ufffd"),
    "astral letters": _filled("𝕋𝕙𝕖 𝔟𝔬𝔞𝔱𝔰 𐍈𐌰 𓂀𓃒 "),
    "full width": _filled("ＡＢＣ　１２３，。"),
    "chinese": _filled("港口一大早就开放，渔船在黎明前离开。"),
    "thai": _filled("ท่าเรือเปิดแต่เช้าตรู่และเรือออกก่อนรุ่งสาง"),
    "letters that grow": _filled("İŉǰΐΰﬃẞǅ "),  # another length in small or capital letters
    "mojibake": _filled("cafÃ© â€œquotedâ€\x9d Ð¡ÑŠ "),
    "twice mojibake": _filled("ÃƒÂ©Ã¢â‚¬â„¢ "),
    "entities": _filled("&amp;amp;lt;&#0;&#x110000;&nbsp;&#55357; "),
    "open tags": _filled("<div>"),
    "braces": _filled("{"),
    "brackets": _filled("[" * 40 + "1"),
    "citations": _filled("[1][citation needed][edit] "),
    "marks": _filled("#…... "),
    "end marks": _filled(".!?"),
    "dots": _filled("."),
    "apostrophes": _filled("'s'll've're'd'm"),
    "quotation marks": _filled("\"'“”‘’«»"),
    "hyphens": _filled("co-op—well–made-"),
    "bullets": _filled("• item\n- item\n* item…\n"),
    "digits": _filled("1234567890"),
    "numbers": _filled("12 345,67 -8.9e10 \u0663\u0664 ② ½ "),
    "addresses": _filled("a@b.co " + "x" * 70 + "@example.org "),
    "at signs": _filled("a@"),
    "dotted names": _filled("a.b."),
    "cards": _filled("4111 1111 1111 1111 "),
    "phones": _filled("+49 30 1234567, call (030) 123-4567 "),
    "pluses": _filled("+49"),
    "networks": _filled("8.8.8.8 2001:db8::1 ::ffff:8.8.4.4 "),
    "colons": _filled("::"),
    "accounts": _filled("DE89 3704 0044 0532 0130 00 "),
    "urls": _filled("https://user:secret@example.org:80/%ff/../?q=a#b "),
    "url without an end": lambda size: "https://example.org/" + "a" * size,
    "javascript": _filled("javascript{lorem ipsum} terms of use privacy policy\n"),
    "shouting": _filled("BUY NOW\n3 likes\nSign-in\n"),
    "special tokens": _filled("[CLS][SEP]<s></s><|endoftext|>"),
    "labels": _filled("__label__en </s> "),
    "words that collide": _collisions(" "),
    "lines that collide": _collisions("\n"),
    "thue-morse": lambda size: thue_morse(max(size.bit_length(), 1))[:size],
    "squares": lambda size: ("ab" * 50 + " ") * (size // 101 + 1),
    "counting": lambda size: " ".join(map(str, range(size // 5 + 1))),
    "any character": lambda size: "".join(chr(random.Random(at).randrange(0xD800)) for at in range(size)),
}

SPELLS = [
    *"aZé.?!,:;-_#@+&<>{}()[]|/\\\"'0 9\n\n\r\t\x00\x1b\x85\xa0\u3000\u2028\u200b\u200d\ufeff\ufffd",
    *"\u0301\u0323\u0338\u1112\u1161\u11ab\u05b8\u0e38\ufe0f中ท가ß\u0130\u202e😀🏽…•“”’",
    *("the ", "have ", "word", "Word.", "\n\n", "\r\n", "...", "  ", "- ", "• ", "&amp;", "&#0;", "Ã©", "â€™", "'s", "n't"),
    *("[1]", "[edit]", "lorem ipsum", "javascript", "terms of use", "3 likes", "Read more...", "12", "1,000.5"),
    *("a@b.co", "+49 30 1234567", "4111111111111111", "8.8.8.8", "::1", "https://x.example/a?b#c", "www.x.example", "damn"),
]  # fmt: skip
