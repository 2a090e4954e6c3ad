"""Nothing that a stranger writes moves the cursor, hides text or breaks the line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reports.printable import printable

HOSTILE = {
    "window title": "\x1b]0;owned\x07",
    "clear the screen": "\x1b[2J",
    "C1 control sequence": "\x9b31m",
    "hyperlink": "\x1b]8;;file:///etc/passwd\x1b\\",
    "right to left override": "invoice\u202egpj.exe",
    "bidi isolate": "\u2066a\u2069",
    "Arabic letter mark": "\u061c",
    "zero width": "pay\u200bpal",
    "backspace and delete": "abc\b\b\bxyz\x7f",
    "lone surrogate": "\ud800",
    "private use": "\ue000",
    "line separator": "a\u2028b",
    "carriage return": "safe\rowned",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_controls_are_shown_not_obeyed(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert shown != text
    shown.encode()


def test_what_is_replaced_and_what_becomes_a_space():
    assert printable("\x1b[31mred\x1b[0m") == "\ufffd[31mred\ufffd[0m"
    assert printable("a\tb\nc\u00a0d\u3000e") == "a b c d e"


@pytest.mark.parametrize(
    "text", ["", "plain", "Größe, naïve", "日本語 한국어 עברית العربية ไทย", "🎉 [red] [/foo] <b>", "e\u0301"]
)
def test_text_stays_as_it_is(text):
    assert printable(text) == text


def test_long_text_is_cut_with_a_mark():
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable("abcdef", 3) == "ab…"
    assert printable("abcdef", 1) == "…"
    assert printable("abcdef", 0) == ""
    assert len(printable("\x1b" * 10_000_000)) == 200


@given(st.text(st.characters(), max_size=80), st.integers(0, 60))
def test_output_is_always_one_printable_line(text, n):
    shown = printable(text, n)
    assert len(shown) <= n
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for c in shown)
    assert printable(shown, n) == shown
