"""Render blocks as one HTML file that opens from disk: no script, nothing loaded, plots inline, light and dark.

All text is escaped by the template. Plots are inserted as they are: matplotlib escapes what they show.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.reports.render.formats import Block, Code, Heading, Lines, Table, one_line

_PROLOG = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>|\s*<style\b.*?</style>", re.DOTALL)
_SIZE = re.compile(r'(<svg\b[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"')
_IDS = re.compile(r'(\bid="|url\(#|href="#)')
ANCHORS = {"heading": "heading", "plot": "picture"}
"""What has an id on the page, and what it starts with; links to pages of before go by these."""


@dataclass(frozen=True, slots=True)
class Plot:
    """An SVG that this project has drawn, with its caption; the name is unique on the page."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Folded:
    """Lines that are shown on request."""

    summary: str
    lines: Sequence[str]


PageBlock = Block | Plot | Folded


def page(blocks: Iterable[PageBlock]) -> str:
    """Write the blocks as a page of its own; its title is the first heading."""
    return _render("report.html.j2", blocks)


def fragment(blocks: Iterable[PageBlock]) -> str:
    """Write the blocks as HTML for the inside of a page."""
    return _render("fragment.html.j2", blocks)


def _render(template: str, blocks: Iterable[PageBlock]) -> str:
    import jinja2
    from markupsafe import Markup

    from delamo import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("delamo.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )
    nodes = _with_anchors([_node(block) for block in _rejoined(blocks)])
    for node in nodes:
        if node["kind"] == "plot":
            node["svg"] = Markup(inline_svg(node["anchor"], node["svg"]))
    headings = [node for node in nodes if node["kind"] == "heading"]
    return environment.get_template(template).render(
        title=headings[0]["text"] if headings else "delamo",
        version=__version__,
        sections=[node for node in headings if node["level"] == 2],
        blocks=nodes,
    )


def inline_svg(prefix: str, svg: str) -> str:
    """Adapt matplotlib's SVG to the inside of a page: of its width, ids of its own, in the page's text color."""
    from delamo.reports.plots.style import INK

    text = _METADATA.sub("", _PROLOG.sub("", svg, count=1))
    text = _SIZE.sub(rf'\1 style="max-width: \2pt" role="img" aria-labelledby="{prefix}-caption"', text, count=1)
    return _IDS.sub(rf"\g<1>{prefix}-", text).replace(INK, "currentColor").strip()


def _rejoined(blocks: Iterable[PageBlock]) -> Iterator[PageBlock]:
    """Join tables that were cut to fit a terminal: here they can be scrolled."""
    last: PageBlock | None = None
    for block in blocks:
        if isinstance(last, Table) and isinstance(block, Table) and (same := _shared_columns(last, block)):
            rows = [[*row, *more[same:]] for row, more in zip(last.rows, block.rows, strict=True)]
            last = Table([*last.columns, *block.columns[same:]], rows, last.num_text)
            continue
        if last is not None:
            yield last
        last = block
    if last is not None:
        yield last


def _shared_columns(first: Table, second: Table) -> int:
    """Count the leading columns that two tables share, cell by cell; 0 where those are not all that have text."""
    if len(first.rows) != len(second.rows):
        return 0
    columns = [zip(table.columns, *table.rows, strict=True) for table in (first, second)]
    pairs = enumerate(zip(*columns, strict=False))
    shared = next((index for index, (left, right) in pairs if left != right), 0)
    return shared if shared >= max(1, first.num_text) else 0


def _node(block: PageBlock) -> dict[str, Any]:
    """Turn a block into what the template reads."""
    match block:
        case Heading(text, level):
            return {"kind": "heading", "text": one_line(text), "level": level}
        case Lines(lines, bullets):
            return {"kind": "lines", "lines": [one_line(line) for line in lines], "bullets": bullets}
        case Code(lines):
            return {"kind": "code", "lines": [one_line(line) for line in lines]}
        case Folded(summary, lines):
            return {"kind": "folded", "summary": one_line(summary), "lines": [one_line(line) for line in lines]}
        case Plot(name, svg, caption):
            return {"kind": "plot", "text": name, "svg": svg, "caption": one_line(caption)}
        case Table(columns, rows, num_text):
            cells = [[_cell(text) for text in row] for row in rows]
            return {"kind": "table", "columns": [one_line(c) for c in columns], "rows": cells, "num_text": num_text}


def _with_anchors(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give headings and plots ids, none of them twice; a table is called by the heading above it."""
    seen: Counter[str] = Counter()
    above = "table"
    for node in nodes:
        if node["kind"] in ANCHORS:
            name = re.sub(r"[^a-z0-9]+", "-", node["text"].lower()).strip("-") or "section"
            seen[name] += 1
            node["anchor"] = f"{ANCHORS[node['kind']]}-{name}" + (f"-{seen[name]}" if seen[name] > 1 else "")
        if node["kind"] == "heading":
            above = node["text"]
        node["name"] = above
    return nodes


def _cell(text: str) -> str:
    """Put a cell on one line; the leading spaces of a method's single runs stay."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text.lstrip(" "))
