"""Write blocks as aligned Markdown and LaTeX, and records as CSV and JSON.

All text that comes from data is escaped here.
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 120
"""Columns of the terminal into which a Markdown table should fit."""
BEATS = "†"
"""Behind a number that is significantly ahead."""
FILLED = "‡"
"""Behind a number of which a part of the selection is random fill."""

# marks that mean something wherever they stand; the others only before what makes a tag, an entity or emphasis of them
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|<(?=[a-zA-Z/!?])|&(?=[a-zA-Z#])|^>|(?<!\w)_|_(?!\w)")
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"\dag{}",
}


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the document's."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Lines:
    """Prose, one line each; printed as a list where there are several and `bullets` is set."""

    lines: Sequence[str]
    bullets: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """Commands to copy, verbatim."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first `num_text` columns are aligned left, the others, numbers, right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_text: int = 1


Block = Heading | Lines | Code | Table


def markdown(blocks: Iterable[Block]) -> str:
    """Write the blocks as Markdown that also reads well in a terminal."""
    return "\n\n".join(_markdown_block(block) for block in blocks)


def latex(blocks: Iterable[Block]) -> str:
    """Write the blocks as a LaTeX fragment; tables are plain `tabular`s, for which no package is needed."""
    return "\n\n".join(_latex_block(block) for block in blocks)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> str:
    """Write comma-separated values with a header.

    None is an empty cell, and text that a spreadsheet would run as a formula starts with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([escape_csv(column) for column in columns])
    writer.writerows([escape_csv(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue().removesuffix("\n")


def csv_records(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Write these columns of records as comma-separated values; a key that a record lacks is an empty cell."""
    return csv_text(columns, [[record.get(column) for column in columns] for record in records])


def json_text(value: Any) -> str:
    """Write a value as JSON for people and programs. Raises ValueError for a number that JSON does not have."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def escape_markdown(text: str) -> str:
    """Escape text, on one line: nothing in it is taken for a column, a tag, a link or emphasis."""
    return _MARKDOWN.sub(lambda match: "\\" + match[0], one_line(text))


def escape_latex(text: str) -> str:
    """Escape text, on one line: nothing in it is taken for a command."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def escape_csv(text: str) -> str:
    """Escape text, on one line, so that no spreadsheet takes it for a formula."""
    plain = one_line(text)
    return f"'{plain}" if plain.lstrip().startswith(("=", "+", "-", "@")) else plain


def one_line(text: str) -> str:
    """Replace control characters (terminal escapes among them) and line breaks by single spaces."""
    return re.sub(
        r" {2,}", " ", "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text)
    )


def fitting(widths: Sequence[int], fixed: int, width: int = WIDTH) -> list[slice]:
    """Cut columns of these widths into parts that, with `fixed` for the first column, fit a table of `width`."""
    cuts, start, used = [], 0, fixed
    for index, column in enumerate(widths):
        if index > start and used + column + 3 > width:
            cuts.append(slice(start, index))
            start, used = index, fixed
        used += column + 3
    return [*cuts, slice(start, len(widths))]


def _markdown_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape_markdown(text)}"
        case Lines(lines, bullets):
            return "\n".join(_wrapped(escape_markdown(line), bullets) for line in lines)
        case Code(lines):
            return "\n".join(f"    {one_line(line)}" for line in lines)
        case Table(columns, rows, num_text):
            return _markdown_table(columns, rows, num_text)


def _wrapped(line: str, bullet: bool) -> str:
    """Wrap a line of prose at spaces, never inside a path or an option."""
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent="- " if bullet else "",
        subsequent_indent="  " if bullet else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], num_text: int) -> str:
    cells = [[_cell(text) for text in row] for row in (columns, *rows)]
    widths = [max(3, *(_width(row[i]) for row in cells)) for i in range(len(columns))]
    ruler = ["-" * w if i < num_text else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [cells[0], ruler, *cells[1:]]
    return "\n".join("| " + " | ".join(_padded(row, widths, num_text)) + " |" for row in lines)


def _cell(text: str) -> str:
    # leading spaces are ours: they indent a method's single runs
    return " " * (len(text) - len(text.lstrip(" "))) + escape_markdown(text.lstrip(" "))


def _padded(row: Sequence[str], widths: Sequence[int], num_text: int) -> list[str]:
    pads = [" " * (width - _width(text)) for text, width in zip(row, widths, strict=True)]
    return [text + pad if i < num_text else pad + text for i, (text, pad) in enumerate(zip(row, pads, strict=True))]


def _width(text: str) -> int:
    """Count terminal columns: East Asian wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _latex_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"\\{('section', 'subsection', 'subsubsection')[min(level, 3) - 1]}*{{{escape_latex(text)}}}"
        case Lines(lines, bullets):
            if not bullets:
                return "\n".join(escape_latex(line) for line in lines)
            items = "\n".join(f"  \\item {escape_latex(line)}" for line in lines)
            return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
        case Code(lines):
            return "\n".join(f"\\texttt{{{escape_latex(line)}}}\\\\" for line in lines)
        case Table(columns, rows, num_text):
            return _latex_table(columns, rows, num_text)


def _latex_table(columns: Sequence[str], rows: Sequence[Sequence[str]], num_text: int) -> str:
    layout = "l" * num_text + "r" * (len(columns) - num_text)
    head, *lines = [" & ".join(map(_latex_cell, row)) + r" \\" for row in (columns, *rows)]
    begin = [f"\\begin{{tabular}}{{{layout}}}", r"\hline", head, r"\hline"]
    return "\n".join([*begin, *lines, r"\hline", r"\end{tabular}"])


def _latex_cell(text: str) -> str:
    # a row that starts with [ would be taken for the optional argument of the line break before it
    lead = r"\quad " if text.startswith(" ") else "{}" if text.startswith("[") else ""
    return lead + escape_latex(text.lstrip(" "))
