"""A rationale cut into reasoning steps: one sentence, one step (paper, section 3.3, after Tyen et al. 2024).

Whatever a model writes around its sentences is no step of its own: a bullet, a number or a heading belongs to the
sentence after it; a formula, a table or a listing is one piece, and belongs to the sentence whose colon announces it.
"""

# ruff: noqa: RUF001 -- full-width punctuation is matched as it is

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

_EMPHASIS = r"(?:\*{1,3}|_{1,2})?"
_STEP = r"(?:[Ss]tep|STEP|步骤|[Pp]aso|[Ss]chritt|[Éé]tape)"
_BULLET = (
    rf"[ \t]*(?:>[ \t]*)?{_EMPHASIS}(?:[-*+•‣◦▪–·]|\(?(?:\d{{1,2}}|[a-z]|[ivx]{{1,4}})[.)、]|[①-⑳]"
    rf"|{_STEP}\s?\d{{1,2}}\s?{_EMPHASIS}\s?(?:[:.)：–-]|\Z)){_EMPHASIS}"
)
_RULE = re.compile(r"\s*([-*_=])\1{2,}\s*")
_MARKER = re.compile(rf"\s*(?:{_BULLET}\s*)+")
_HEADING = re.compile(r"\s*(?:#{1,6}\s[^\n]*|(?:\*\*|__)[^*_\n]{1,60}[:：]?(?:\*\*|__)[:：]?)\s*")
"""`### Step 1: look`, or `**Analysis:**` on a line of its own."""
_NUMBER = re.compile(r"\d+[.)]\s*")
_ENDED = re.compile(r"[.!?:;][\"')\]]*\s*$")
_LINE = re.compile(r"[^\n]*\n+|[^\n]+$")
_ENDS_BEFORE = re.compile(r"(?<=[。！？।؟])(?![。！？।؟”’」』）)\]\s])|(?<=[。！？][”’」』）])(?![。！？\s])")
"""Where a sentence begins without a blank before it."""
_STARTERS = (
    "It|The|So|This|That|There|These|Those|Therefore|Thus|Hence|We|Since|Because|However|Option|But|And|In|If|Next|Now|Then"
    "|They|He|She|As|For|Also|Wait|Let|Not|Only|Both|Each|Its|Choice|Answer|You|My|Our|Finally|First|Second|Looking|What"
)
_AFTER_LETTER = re.compile(
    rf"(?<=[\s(*'\"][A-Z]\.)(?=\s+(?:{_STARTERS})\b)|(?<=\bis\s[A-H]\.)(?=\s+[A-Z])|(?<=\boption\s[A-Z]\.)(?=\s+[A-Z])",
    re.MULTILINE,
)
"""After an option's letter, which looks like an initial: "It is A. It is B." """
_BLOCKS = (
    (re.compile(r"[ \t]*```"), re.compile(r"```[ \t]*\n*\Z")),
    (re.compile(r"[^\n]*\\\[(?![^\n]*\\\])"), re.compile(r"\\\]")),
    (re.compile(r"[^\n]*\\begin\{(?![^\n]*\\end\{)"), re.compile(r"\\end\{")),
    (re.compile(r"(?:[^\n$]|\$(?!\$))*\$\$(?![^\n]*\$\$)"), re.compile(r"\$\$")),
)
"""How a listing or a formula of several lines begins, and how its last line ends."""
_ANNOUNCED = re.compile(r"\s*(?:```|\\\[|\\begin\{|\$\$|\|)")


def split_steps(rationale: str) -> tuple[str, ...]:
    """Cut a rationale into steps; `"".join(steps)` gives it back character for character.

    Lines are cut first (a blank line, a bullet or a number starts a step), then sentences inside a line by pysbd, and
    after the full stops of scripts that put no blank there. White space between two steps belongs to the later one.
    """
    pieces = [piece for block, is_whole in _blocks(rationale) for piece in ([block] if is_whole else _sentences(block))]
    return tuple(_join(_move_space(pieces)))


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Yield (lines, whether they are one piece): a listing, a formula or a table of several lines, or a single line."""
    lines = _LINE.findall(text)
    at = 0
    while at < len(lines):
        end = _block_end(lines, at)
        yield "".join(lines[at : end + 1]), end > at
        at = end + 1


def _block_end(lines: list[str], at: int) -> int:
    """Return the last line of the block that begins at a line; that line itself where none begins, or none ends."""
    if lines[at].lstrip().startswith("|"):
        end = at
        while end + 1 < len(lines) and lines[end + 1].lstrip().startswith("|") and "\n\n" not in lines[end]:
            end += 1
        return end
    for begins, ends in _BLOCKS:
        if begins.match(lines[at]):
            return next((end for end in range(at + 1, len(lines)) if ends.search(lines[end])), at)
    return at


def _sentences(line: str) -> list[str]:
    """Return the sentences of one line, lossless."""
    if _HEADING.fullmatch(line):
        return [line]
    return [sentence for part in _ENDS_BEFORE.split(line) if part for sentence in _by_blanks(part)]


def _by_blanks(line: str) -> list[str]:
    """Return pysbd's sentences, which blanks part; the text whole where they are not lossless."""
    text = line.lstrip()  # pysbd drops what a line is indented by
    indent = line[: len(line) - len(text)]
    if not re.search(r"[.!?].*\S", text):
        return [line]
    pieces = _segmenter().segment(text)
    if "".join(pieces) != text:
        return [line]
    return [indent, *(part for piece in _mend_numbers(pieces) for part in _AFTER_LETTER.split(piece) if part)]


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


def _join(pieces: list[str]) -> list[str]:
    """Join what is no step of its own with the step that it belongs to."""
    joined: list[str] = []
    waiting = ""
    """Markers and headings, for the next step."""
    for piece in pieces:
        if not _RULE.fullmatch(piece) and (_MARKER.fullmatch(piece) or _HEADING.fullmatch(piece)):
            waiting += piece
        elif joined and not waiting and _belongs_to(piece, joined[-1]):
            joined[-1] += piece
        elif not re.search(r"\w", piece):
            waiting += piece
        else:
            joined.append(waiting + piece)
            waiting = ""
    if waiting:
        joined[-1:] = [joined[-1] + waiting] if joined else [waiting]
    return joined


def _belongs_to(piece: str, before: str) -> bool:
    """Return whether a piece goes on with the step before it: no word in it, or what that step's colon announces."""
    return not re.search(r"\w", piece) or bool(before.rstrip(" *").endswith((":", "：")) and _ANNOUNCED.match(piece))


@cache
def _segmenter() -> Any:
    import pysbd

    return pysbd.Segmenter(language="en", clean=False)
