"""A rationale cut into reasoning steps: one sentence, one step (paper, section 3.3, after Tyen et al. 2024)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_BULLET = r"[ \t]*(?:[-*\u2022]|\(?\d{1,2}[.)]|[Ss]tep \d{1,2}\s*[:.])"
_MARKER = re.compile(rf"\s*{_BULLET}\s*")
_NUMBER = re.compile(r"\d+[.)]\s*")
_ENDED = re.compile(r"[.!?:;][\"')\]]*\s*$")
_LINE = re.compile(r"[^\n]*\n+|[^\n]+$")


def split_steps(rationale: str) -> tuple[str, ...]:
    """Cut a rationale into steps; `"".join(steps)` gives it back character for character.

    Lines are cut first (a blank line, a bullet or a number starts a step), then sentences inside a line by pysbd. White
    space between two steps belongs to the later one; a bare `1.` or `Step 2:` belongs to the sentence that follows it.
    """
    pieces = [piece for line in _LINE.findall(rationale) for piece in _sentences(line)]
    return tuple(_join_markers(_move_space(pieces)))


def _sentences(line: str) -> list[str]:
    """Pysbd's sentences of one line, checked to be lossless; the line whole where they are not."""
    text = line.lstrip()  # pysbd drops what a line is indented by
    indent = line[: len(line) - len(text)]
    if not re.search(r"[.!?].*\S", text):
        return [line]
    pieces = _segmenter().segment(text)
    return [indent, *_mend_numbers(pieces)] if "".join(pieces) == text else [line]


def _mend_numbers(pieces: list[str]) -> list[str]:
    """Pysbd takes the number in `It is a 2. The ...` for the start of a list item: give it back to its sentence."""
    mended: list[str] = []
    for piece in pieces:
        number = _NUMBER.match(piece)
        if mended and number and not _ENDED.search(mended[-1]):
            mended[-1] += number.group()
            piece = piece[number.end() :]
        if piece:
            mended.append(piece)
    return mended


def _move_space(pieces: list[str]) -> list[str]:
    """Trailing white space goes to the front of the next piece; what is left at the end stays on the last one."""
    moved: list[str] = []
    carried = ""
    for piece in pieces:
        whole = carried + piece
        kept = whole.rstrip()
        carried = whole[len(kept) :]
        if kept.strip():
            moved.append(kept)
        else:
            carried = whole
    if carried:
        moved[-1:] = [moved[-1] + carried] if moved else [carried]
    return moved


def _join_markers(pieces: list[str]) -> list[str]:
    """A piece that is only a bullet or a number joins the next one."""
    joined: list[str] = []
    marker = ""
    for piece in pieces:
        if _MARKER.fullmatch(piece):
            marker += piece
        else:
            joined.append(marker + piece)
            marker = ""
    return [*joined, marker] if marker else joined


@cache
def _segmenter() -> Any:
    import pysbd

    return pysbd.Segmenter(language="en", clean=False)
