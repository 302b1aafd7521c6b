"""`delamo card`: every number of the paper: reproduced here, not run for want of what, or not derivable.

Generated from what is on disk. Only a run at the paper's scale with the preset's own settings can reproduce a number,
and only where the paper's lies in its 95 % interval. Runs of the microworld are counted, and reproduce nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.paper import matching, requirements
from delamo.paper.layout import Entry, Layout, at_scale
from delamo.paper.measures import Value
from delamo.paper.numbers import LOST, PAPER, TABLES, Remark, numbers, paper_table, remarks
from delamo.paper.requirements import Need
from delamo.reports.render.formats import (
    WIDTH,
    Block,
    Heading,
    Lines,
    Table,
    csv_records,
    json_text,
    latex,
    markdown,
)
from delamo.runs.read import Run, RunCollection, collect
from delamo.store import write_text

TEXT = "text"
"""In the place of a table, for the numbers that stand in the text."""
REPRODUCED, DIFFERENT, OTHER_SETTINGS = "reproduced", "run, differs", "run otherwise"
NOT_RUN, NOT_DERIVABLE = "not run", "not derivable"
DERIVED, CONTRADICTED = "from the tables", "contradicted"
STATES = {
    REPRODUCED: "run at the paper's scale with the preset's settings; the paper's number lies in our 95 % interval, or "
    "is ours to the last digit printed where a number has no interval",
    DIFFERENT: "run likewise, and the paper's number lies outside",
    OTHER_SETTINGS: "run at the paper's scale with settings other than the preset's, or without what the number is "
    "made of",
    NOT_RUN: "no finished run; what is missing for one stands beside it",
    NOT_DERIVABLE: "no run can give it",
    DERIVED: "a number in the text that the paper's own tables give",
    CONTRADICTED: "a number in the text that the paper's own tables do not give",
}
SCHEMA_VERSION = 1
FORMATS = ("markdown", "json", "csv", "latex")
COLUMNS = (
    *("table", "row", "column", "unit", "paper", "state", "value", "low", "high", "num_runs", "needs", "gpu_hours"),
    *("detail", "command", "runs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One number of the paper."""

    table: str
    row: str
    column: str
    unit: str
    paper: float
    decimals: int
    state: str
    value: Value | None = None
    needs: tuple[Need, ...] = ()
    gpu_hours: float | None = None
    """Of tuning, by the paper's timings."""
    detail: str | None = None
    """Why it cannot be derived, or what differs."""
    command: str | None = None
    """Runs the cell."""
    tunings: tuple[Any, ...] = ()
    """What tells its tunings from others."""
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All numbers of the paper, and the runs that were looked at."""

    root: Path
    exists: bool
    items: list[Item]
    num_runs: int
    num_micro: int

    @property
    def counts(self) -> Counter[str]:
        """Numbers by state."""
        return Counter(item.state for item in self.items)


def make(root: Path) -> Card:
    """Make the card of the runs below a folder; one that does not exist holds none."""
    collection = collect(root) if root.is_dir() else RunCollection(root, [], [])
    items = [item for name in TABLES for item in _table_items(at_scale(collection, paper_table(name), PAPER))]
    return Card(
        root=root,
        exists=root.is_dir(),
        items=items + [_remark(remark) for remark in remarks()],
        num_runs=len(collection.runs),
        num_micro=sum(run.cell["task"].startswith("micro/") for run in collection.runs),
    )


def _table_items(layout: Layout) -> list[Item]:
    return [_item(layout, layout.entries[row][column], paper) for row, column, paper in numbers(layout.table)]


def _item(layout: Layout, entry: Entry, paper: float) -> Item:
    column = layout.table.columns[entry.column]
    item = Item(
        table=layout.table.name,
        row=", ".join(label for label in layout.table.rows[entry.row].labels if label != "-"),
        column=column.name,
        unit=column.unit,
        paper=paper,
        decimals=column.decimals,
        state=NOT_DERIVABLE,
        detail=column.underivable,
    )
    if column.underivable or entry.choices is None:
        return item
    item = dataclasses.replace(item, command=_command(entry), runs=entry.runs)
    if entry.runs:
        return _judged(item, entry)
    others = [run for run in layout.left_out if matching.matches(run, entry.choices, PAPER)]
    if others:
        return _otherwise(item, others, entry)
    tunings = tuple(requirements.tunings(entry.choices))
    return dataclasses.replace(
        item,
        state=NOT_RUN,
        needs=requirements.missing(entry.choices),
        gpu_hours=len(tunings) * requirements.gpu_hours(entry.choices),
        tunings=tunings,
    )


def _judged(item: Item, entry: Entry) -> Item:
    """Judge the number by a run at the paper's scale."""
    if any(matching.deviations(run, entry.choices, PAPER) for run in entry.runs):
        return dataclasses.replace(_otherwise(item, entry.runs, entry), value=entry.value)
    if entry.value is None:
        return dataclasses.replace(item, state=OTHER_SETTINGS, detail=entry.detail)
    if entry.value.not_judged:
        return dataclasses.replace(
            item, state=OTHER_SETTINGS, value=entry.value, detail=f"{entry.value.not_judged}: not judged"
        )
    state = REPRODUCED if _agrees(item, entry.value) else DIFFERENT
    return dataclasses.replace(item, state=state, value=entry.value)


def _agrees(item: Item, value: Value) -> bool:
    if value.interval is None:
        return round(value.mean, item.decimals) == round(item.paper, item.decimals)
    return value.interval.low <= item.paper <= value.interval.high


def _otherwise(item: Item, runs: Sequence[Run], entry: Entry) -> Item:
    differing = {key: value for run in runs for key, value in matching.deviations(run, entry.choices, PAPER).items()}
    settings = ", ".join(f"{key}={value}" for key, value in sorted(differing.items()))
    return dataclasses.replace(item, state=OTHER_SETTINGS, detail=settings, runs=tuple(runs))


def _remark(remark: Remark) -> Item:
    """Check a number in the text against the paper's own tables."""
    decimals = len(f"{remark.value:g}".partition(".")[2])
    item = Item(
        table=TEXT,
        row=remark.says,
        column=remark.where,
        unit=remark.unit,
        paper=remark.value,
        decimals=decimals,
        state=NOT_DERIVABLE,
        detail=remark.underivable,
    )
    if remark.tables is None:
        return item
    agrees = round(remark.tables, decimals) == remark.value
    detail = None if agrees else f"the paper's tables give {remark.tables:g}"
    return dataclasses.replace(item, state=DERIVED if agrees else CONTRADICTED, detail=detail)


def _command(entry: Entry) -> str:
    overrides = requirements.essential(entry.choices or {})
    return " ".join(["delamo run", "scale=paper", *(f"{key}={value}" for key, value in overrides.items())])


def card(runs: Path, format: str = "markdown", out: Path | None = None) -> str:
    """Write the card of the runs below a folder.

    Args:
        runs: the folder; one that does not exist holds no run.
        format: one of `FORMATS`.
        out: a file for it; None returns it.

    Returns:
        The card, or where it was written and what it comes to.

    Raises:
        ValueError: an unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}: choose one of {', '.join(FORMATS)}")
    made = make(Path(runs))
    text = _text(made, format)
    if out is None:
        return text
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text + "\n")
    return f"{out}: {headline(made)}"


def _text(made: Card, format: str) -> str:
    if format == "json":
        return _json(made)
    if format == "csv":
        return csv_records(COLUMNS, [_record(item) for item in made.items])
    return (markdown if format == "markdown" else latex)(blocks(made))


def headline(made: Card) -> str:
    """Say how many of the paper's numbers are reproduced."""
    return f"{made.counts[REPRODUCED]} of the paper's {len(made.items)} numbers are reproduced here."


def blocks(made: Card) -> list[Block]:
    """Build the card, the counts first."""
    shown: list[Block] = [Heading("Reproduction card", 1), *_summary(made), *_missing(made)]
    for name in TABLES:
        items = [item for item in made.items if item.table == name]
        if items:
            title = Heading(f"{name}: {paper_table(name).title}")
            shown += [title, *_item_tables(items), *_details(items), *_lost(name)]
    in_text = [item for item in made.items if item.table == TEXT]
    return [*shown, Heading("Numbers in the text"), *_item_tables(in_text), *_details(in_text)]


def _summary(made: Card) -> list[Block]:
    runs = f"{made.num_runs} finished runs below {made.root}"
    where = runs if made.exists else f"{made.root}: no such folder, so no runs"
    lines = [f"{headline(made)} Looked at: {where}."]
    if made.num_micro:
        which = f"{made.num_micro} of these runs are of the microworld, which is another world"
        lines.append(f"{which}: they reproduce no number of the paper.")
    counts = [[state, str(made.counts[state])] for state in STATES] + [["all", str(len(made.items))]]
    meanings = Lines([f"{state}: {meaning}." for state, meaning in STATES.items()], bullets=True)
    return [Lines(lines), Table(["state", "numbers"], counts), meanings]


def _lost(name: str) -> list[Block]:
    """Name what our copy of the paper lacks."""
    table = paper_table(name)
    where = [
        f"{', '.join(row.labels)}, {column.name}"
        for row in table.rows
        for column, value in zip(table.columns, row.values, strict=True)
        if value == LOST
    ]
    return [Lines([f"Not listed: {'; '.join(where)}: {table.lost}."])] if where else []


def _missing(made: Card) -> list[Block]:
    """List each thing that is missing here, with the number of numbers that wait for it."""
    waiting = Counter(need for item in made.items for need in item.needs)
    if not waiting:
        return []
    rows = [[need.kind, need.what, str(count)] for need, count in sorted(waiting.items())]
    hours = {tuning: item.gpu_hours / len(item.tunings) for item in made.items for tuning in item.tunings}
    note = (
        f"The {len(hours)} distinct tunings that were not run take {sum(hours.values()):,.0f} A100 GPU-hours by the "
        "paper's own timings (Table 6), in proportion to the samples; answering and evaluation are not in them. "
        "One that does not look at the target counts once, as if the audit removed nothing from the pool. "
        "More of one table: delamo plan experiment=table1 scale=paper."
    )
    return [Heading("What is missing here"), Table(["kind", "what", "numbers"], rows, num_text=2), Lines([note])]


def _item_tables(items: Sequence[Item]) -> list[Block]:
    """Build a row for each number; one table for each column of the paper's where one for all is too wide."""
    whole = _item_table(items)
    if _width(whole) <= WIDTH:
        return [whole]
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(item.column, []).append(item)
    return [block for name, same in parts.items() for block in (Heading(name, 3), _item_table(same, of=False))]


def _item_table(items: Sequence[Item], *, of: bool = True) -> Table:
    """Show what is missing only where something was not run, and ours only where something was."""
    texts = {"number": [item.row for item in items], "of": [item.column for item in items]}
    texts["state"] = [item.state for item in items]
    if any(item.state == NOT_RUN for item in items):
        texts["needs"] = [_needed(item) for item in items]
    values = {"paper": [f"{item.paper:,.{item.decimals}f}" for item in items]}
    if any(item.value for item in items):
        values["ours (95 %)"] = [_ours(item) for item in items]
    if any(item.gpu_hours for item in items):
        values["GPU-h"] = [f"{item.gpu_hours:.1f}" if item.gpu_hours else "-" for item in items]
    if not of:
        del texts["of"]
    columns = texts | values
    return Table(list(columns), [list(row) for row in zip(*columns.values(), strict=True)], num_text=len(texts))


def _width(table: Table) -> int:
    widths = [max(map(len, texts)) for texts in zip(table.columns, *table.rows, strict=True)]
    return sum(widths) + 3 * len(widths) + 1


def _needed(item: Item) -> str:
    """Name the kinds of what is missing; a GPU is missing everywhere or nowhere, and stands above."""
    return " ".join(dict.fromkeys(need.kind for need in item.needs if need.kind != requirements.GPU)) or "-"


def _ours(item: Item) -> str:
    value = item.value
    if value is None:
        return "-"
    text = f"{value.mean:,.{item.decimals}f}"
    if value.interval:
        text += f" ({value.interval.low:.{item.decimals}f} to {value.interval.high:.{item.decimals}f})"
    return text + (f", {value.num_runs} runs" if value.num_runs > 1 else "")


def _details(items: Sequence[Item]) -> list[Block]:
    """Say why numbers cannot be derived, or what differs, each reason once."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.detail:
            names = reasons.setdefault(f"{item.state}: {item.detail}", [])
            if (name := _name(item)) not in names:
                names.append(name)
    lines = [f"{'; '.join(names)}: {reason}." for reason, names in reasons.items()]
    return [Lines(lines, bullets=True)] if lines else []


def _name(item: Item) -> str:
    """Name the number that a reason is given for."""
    if item.table == TEXT:
        return item.row
    return item.column if item.state == NOT_DERIVABLE else f"{item.row}, {item.column}"


def _json(made: Card) -> str:
    plain = {
        "schema_version": SCHEMA_VERSION,
        "runs": str(made.root),
        "num_runs": made.num_runs,
        "num_micro_runs": made.num_micro,
        "counts": {state: made.counts[state] for state in STATES},
        "numbers": [
            _record(item) | {"needs": [dataclasses.asdict(need) for need in item.needs]} for item in made.items
        ],
    }
    return json_text(plain)


def _record(item: Item) -> dict[str, Any]:
    value, interval = item.value, item.value.interval if item.value else None
    return {
        "table": item.table,
        "row": item.row,
        "column": item.column,
        "unit": item.unit,
        "paper": item.paper,
        "state": item.state,
        "value": value.mean if value else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "num_runs": value.num_runs if value else 0,
        "needs": "; ".join(need.what for need in item.needs),
        "gpu_hours": item.gpu_hours,
        "detail": item.detail,
        "command": item.command,
        "runs": " ".join(str(run.path) for run in item.runs),
    }
