"""The report as one HTML file that opens from disk: no script, nothing loaded from anywhere, pictures inline, light and dark by the reader's own choice.

All text is escaped by the template. Of the pictures, which are inserted as they are, matplotlib escapes what they show.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.reports.comparison import Results
from delamo.reports.render.formats import Block, Code, Heading, Lines, Table, one_line
from delamo.runs.read import Run

_PROLOG = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>|\s*<style\b.*?</style>", re.DOTALL)
_SIZE = re.compile(r'(<svg\b[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"')
_IDS = re.compile(r'(\bid="|url\(#|href="#)')


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG of our own making, with its caption; the name is unique on the page."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Folded:
    """Lines that are shown when they are asked for."""

    summary: str
    lines: Sequence[str]


def page(blocks: Iterable[Block | Picture | Folded]) -> str:
    """The blocks as a page of its own; its title is the first heading."""
    import jinja2
    from markupsafe import Markup

    from delamo import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("delamo.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )
    shown = _with_anchors([_plain(block) for block in _rejoined(blocks)])
    for block in shown:
        if block["kind"] == "picture":
            block["svg"] = Markup(inline_svg(block["anchor"], block["svg"]))
    headings = [block for block in shown if block["kind"] == "heading"]
    return environment.get_template("report.html.j2").render(
        title=headings[0]["text"] if headings else "delamo",
        version=__version__,
        sections=[block for block in headings if block["level"] == 2],
        blocks=shown,
    )


def pictures(results: Results) -> list[Block | Picture]:
    """The plots of `delamo.reports.plots` under a heading of their own; a line in their place without matplotlib."""
    from importlib.util import find_spec

    title = Heading("Plots")
    if find_spec("matplotlib") is None:
        return [title, Lines(["Not drawn: matplotlib is not installed (pip install 'delamo[plots]')."])]
    from delamo.reports import plots

    drawn = plots.figures(results)
    shown = [
        Picture(name, plots.rendered(name, figure, "svg").decode("utf-8"), figure.get_label())
        for name, figure in drawn.items()
    ]
    return [title, *shown] if shown else []


def config_blocks(runs: Sequence[Run]) -> list[Block | Folded]:
    """What the runs were told, without repetition: the settings that all share, and for each run those that set it apart."""
    configs = {str(run.path): {key: _value(value) for key, value in run.config.items()} for run in runs}
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    if not keys:
        return []
    values = {key: {config.get(key) for config in configs.values()} for key in keys}
    shared = [key for key in keys if len(values[key]) == 1]
    apart = [key for key in keys if len(values[key]) > 1]
    first = next(iter(configs.values()))
    rows = [[path, ", ".join(f"{k}={config[k]}" for k in apart if k in config)] for path, config in configs.items()]
    return [
        Heading("Configs"),
        Folded(f"{len(shared)} settings that all {len(runs)} runs share", [f"{key}: {first[key]}" for key in shared]),
        Table(["run directory", "settings that not all share"], rows, num_text=2),
        Lines(["A run is made again by its config.yaml, which has all of them: delamo run KEY=VALUE ..."]),
    ]


def inline_svg(prefix: str, svg: str) -> str:
    """matplotlib's SVG for the inside of a page: as wide as the page allows, ids of its own, in the page's text colour."""
    from delamo.reports.plots.style import INK

    text = _METADATA.sub("", _PROLOG.sub("", svg, count=1))
    text = _SIZE.sub(rf'\1 style="max-width: \2pt" role="img" aria-labelledby="{prefix}-caption"', text, count=1)
    return _IDS.sub(rf"\g<1>{prefix}-", text).replace(INK, "currentColor").strip()


def _rejoined(blocks: Iterable[Block | Picture | Folded]) -> Iterator[Block | Picture | Folded]:
    """Tables that were cut to fit a terminal, made whole: here they can be scrolled."""
    last: Block | Picture | Folded | None = None
    for block in blocks:
        if isinstance(last, Table) and isinstance(block, Table) and (same := _leading_columns(last, block)):
            rows = [[*row, *more[same:]] for row, more in zip(last.rows, block.rows, strict=True)]
            last = Table([*last.columns, *block.columns[same:]], rows, last.num_text)
            continue
        if last is not None:
            yield last
        last = block
    if last is not None:
        yield last


def _leading_columns(one: Table, other: Table) -> int:
    """How many first columns two tables share, cell by cell; 0 where those are not all that have text."""
    if len(one.rows) != len(other.rows):
        return 0
    columns = zip(zip(one.columns, *one.rows, strict=True), zip(other.columns, *other.rows, strict=True), strict=False)
    same = next((place for place, (left, right) in enumerate(columns) if left != right), 0)
    return same if same >= max(1, one.num_text) else 0


def _plain(block: Block | Picture | Folded) -> dict[str, Any]:
    match block:
        case Heading(text, level):
            return {"kind": "heading", "text": one_line(text), "level": level}
        case Lines(lines, bullets):
            return {"kind": "lines", "lines": [one_line(line) for line in lines], "bullets": bullets}
        case Code(lines):
            return {"kind": "code", "lines": [one_line(line) for line in lines]}
        case Folded(summary, lines):
            return {"kind": "folded", "summary": one_line(summary), "lines": [one_line(line) for line in lines]}
        case Picture(name, svg, caption):
            return {"kind": "picture", "text": name, "svg": svg, "caption": one_line(caption)}
        case Table(columns, rows, num_text):
            cells = [[_cell(text) for text in row] for row in rows]
            return {"kind": "table", "columns": [one_line(c) for c in columns], "rows": cells, "num_text": num_text}


def _with_anchors(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ids for headings and pictures, none of them twice; a table is called by the heading above it."""
    seen: Counter[str] = Counter()
    above = "table"
    for block in blocks:
        if block["kind"] in ("heading", "picture"):
            name = re.sub(r"[^a-z0-9]+", "-", block["text"].lower()).strip("-") or "section"
            seen[name] += 1
            block["anchor"] = f"{block['kind']}-{name}" + (f"-{seen[name]}" if seen[name] > 1 else "")
        if block["kind"] == "heading":
            above = block["text"]
        block["name"] = above
    return blocks


def _cell(text: str) -> str:
    """One line; the leading spaces of a method's single runs stay."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text.lstrip(" "))


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
