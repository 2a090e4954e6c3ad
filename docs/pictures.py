"""Draws docs/pictures/loop.svg: real commands on docs/example, as a terminal shows them. `python docs/pictures.py`.

The picture is one SVG file that loads nothing: text on a grid, block characters as rectangles, frames shown
in turn by CSS; what does not animate shows the last one. With fonttools, brotli and fontpkg-jetbrains-mono
installed, the letters that occur are embedded; without them the reader's monospace font is used.
"""

from __future__ import annotations

import base64
import io
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import metadata
from pathlib import Path
from shutil import copytree

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HOME = Path(__file__).resolve().parent
COLUMNS, ROWS, CELL, LINE, PADDING = 88, 24, 8.4, 19, 18  # of the terminal; pixels of a cell at 14 px
ALONE, ANSWERED, LAST = 1.2, 4.5, 6.0  # seconds that a command is shown; the last answer stays longer
FONT = ("fontpkg-jetbrains-mono", "fontpkg_jetbrains_mono/files/JetBrainsMono[wght].ttf")  # OFL-1.1
GROUND, TEXT = (13, 17, 23), (201, 209, 217)
COLORS = [(110, 118, 129), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221), TEXT]  # fmt: skip
THEME = TerminalTheme(GROUND, TEXT, COLORS, COLORS)

QUESTION = '"When does the code of the side door change?"'
RULE = '"filtered.length.drop.too_short=words < 5"'
LOOP = (  # what is thought, what is typed, and how many last lines of the answer are shown (0: all)
    ("Ask.", f"curate search {QUESTION} --k 1", 0),
    ("A note says it. Why is it not found?", "curate why notes/door.md", 0),
    ("A looser rule: what would it change?", f"curate plan --set {RULE}", 13),
    ("Just that. Do it.", f"curate run --set {RULE}", 0),
    ("Ask again.", f"curate search {QUESTION} --k 1", 0),
)


@dataclass(frozen=True)
class Scene:
    """A command, what is thought before it, and what it prints, with colour codes."""

    thought: str
    command: str
    answer: str


def record() -> list[Scene]:
    """Run the loop in a copy of docs/example, after a first run."""
    scenes = []
    with tempfile.TemporaryDirectory() as folder:
        copytree(HOME / "example", folder, dirs_exist_ok=True)
        for command in ("curate init notes", "curate run"):
            _answer(command, folder)
        for thought, command, last in LOOP:
            lines = _answer(command, folder).rstrip().split("\n")
            scenes.append(Scene(thought, command, "\n".join(lines[-last:])))
    return scenes


def _answer(command: str, folder: str) -> str:
    terminal = {"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    call = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(call, cwd=folder, env={**os.environ, **terminal}, capture_output=True, check=True)
    return done.stdout.decode()


def picture(scenes: Sequence[Scene], title: str) -> str:
    """The SVG of some scenes, one below the other as in a terminal of ROWS lines, for ever."""
    frames: list[tuple[float, list[list[Segment]]]] = []
    past: list[list[Segment]] = []
    for number, scene in enumerate(scenes, 1):
        past += _lines(
            f"\x1b[2m# {scene.thought}\x1b[0m\n\x1b[1;32m$\x1b[0m \x1b[1m{scene.command}\x1b[0m\n "
        )
        frames.append((ALONE, past[-ROWS:]))
        past += _lines(f"{scene.answer}\n ")
        frames.append((LAST if number == len(scenes) else ANSWERED, past[-ROWS:]))
    width, height = COLUMNS * CELL + 2 * PADDING, ROWS * LINE + 2 * PADDING
    groups = [
        f'<g class="f f{number}">{"".join(_drawn(lines))}</g>' for number, (_, lines) in enumerate(frames)
    ]
    letters = {letter for _, lines in frames for line in lines for segment in line for letter in segment.text}
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}">'
        f"<title>{escape(title)}</title><style>{_font(letters)}{_style([seconds for seconds, _ in frames])}</style>"
        f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8" fill="{_hex(GROUND)}" '
        f'stroke="#30363d"/>{"".join(groups)}</svg>\n'
    )


def _lines(ansi: str) -> list[list[Segment]]:
    console = Console(width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    return console.render_lines(Text.from_ansi(ansi), pad=False)


def _style(seconds: Sequence[float]) -> str:
    """Each frame has its time; where nothing moves, the last one stands."""
    total, last = sum(seconds), len(seconds) - 1
    rules = [
        "text{font:14px J,ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}",
        "text{font-variant-ligatures:none}.b{font-weight:700}",
        f".f{{opacity:0;animation:{total:g}s step-end infinite}}.f{last}{{opacity:1}}",
        "@media(prefers-reduced-motion){.f{animation:none!important}}",
    ]
    for number in range(len(seconds)):
        start, stop = (sum(seconds[:end]) / total * 100 for end in (number, number + 1))
        ends = f"{stop:.2f}%{{opacity:0}}" if number < last else ""
        begins = f"0%{{opacity:{int(number == 0)}}}" + (f"{start:.2f}%{{opacity:1}}" if number else "")
        rules.append(f"@keyframes k{number}{{{begins}{ends}}}.f{number}{{animation-name:k{number}}}")
    return "".join(rules)


def _drawn(lines: Sequence[Sequence[Segment]]) -> Iterator[str]:
    for row, line in enumerate(lines):
        column = 0
        for segment in line:
            if segment.text.strip():
                yield _element(segment, PADDING + column * CELL, PADDING + row * LINE)
            column += cell_len(segment.text)


def _element(segment: Segment, x: float, y: float) -> str:
    """A segment whose upper left corner is at x, y: a bar if it is made of blocks, else text."""
    style = segment.style or Style()
    fill = _hex(style.color.get_truecolor(THEME) if style.color else TEXT, 0.6 if style.dim else 1.0)
    eighths = [0x2590 - ord(letter) for letter in segment.text.strip()]
    if all(1 <= eighth <= 8 for eighth in eighths):
        x += (len(segment.text) - len(segment.text.lstrip())) * CELL
        return f'<rect x="{x:g}" y="{y + 5:g}" width="{sum(eighths) / 8 * CELL:g}" height="10" rx="2" fill="{fill}"/>'
    bold = ' class="b"' if style.bold else ""
    text = segment.text.rstrip()
    length = cell_len(text) * CELL
    return f'<text x="{x:g}" y="{y + 14:g}" textLength="{length:g}" fill="{fill}"{bold}>{escape(text, quote=False)}</text>'


def _hex(color: Sequence[int], strength: float = 1.0) -> str:
    """A colour, mixed with the ground where it is dim."""
    mixed = (round(ground + (one - ground) * strength) for one, ground in zip(color, GROUND, strict=True))
    return "#" + "".join(f"{one:02x}" for one in mixed)


def _font(letters: set[str]) -> str:
    """The letters that occur as a font of their own, or nothing where the packages for it are not installed."""
    try:
        from fontTools import subset
        from fontTools.ttLib import TTFont

        font = TTFont(str(metadata.distribution(FONT[0]).locate_file(FONT[1])))
    except ImportError:  # PackageNotFoundError is one too
        return ""
    subsetter = subset.Subsetter(subset.Options(layout_features=[], flavor="woff2"))
    subsetter.populate(text="".join(letters))
    subsetter.subset(font)
    font.flavor, packed = "woff2", io.BytesIO()
    font.save(packed)
    data = base64.b64encode(packed.getvalue()).decode()
    return f"@font-face{{font-family:J;font-weight:100 800;src:url(data:font/woff2;base64,{data}) format('woff2')}}"


def main() -> None:
    """Write the picture."""
    target = HOME / "pictures" / "loop.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(picture(record(), "A question that finds nothing, and why, until it does"), "utf-8")


if __name__ == "__main__":
    main()
