"""`delamo card`: every number of the paper, and whether it was reproduced here, was not run for want of what, or cannot be derived.

Generated from what is on disk. Only a run at the paper's scale with the preset's own settings can reproduce a number, and only where
the paper's lies in its 95 % interval. Runs of the microworld are counted, and reproduce nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.paper import layout, matching, requirements
from delamo.paper import numbers as paper_numbers
from delamo.paper.layout import Entry, Layout
from delamo.paper.measures import Value
from delamo.paper.numbers import PAPER, TABLES, paper_table
from delamo.paper.requirements import Need
from delamo.runs.read import Collected, Run, collect

TEXT = "text"
"""In the place of a table, for the numbers that stand in the text."""
REPRODUCED, DIFFERENT, OTHER_SETTINGS = "reproduced", "run, differs", "run otherwise"
NOT_RUN, NOT_DERIVABLE = "not run", "not derivable"
DERIVED, CONTRADICTED = "from the tables", "contradicted"
STATES = {
    REPRODUCED: "run at the paper's scale with the preset's settings; the paper's number lies in our 95 % interval, or is ours to the last digit "
    "printed where a number has no interval",
    DIFFERENT: "run likewise, and the paper's number lies outside",
    OTHER_SETTINGS: "run at the paper's scale with settings other than the preset's, or without what the number is made of",
    NOT_RUN: "no finished run; what is missing for one stands beside it",
    NOT_DERIVABLE: "no run can give it",
    DERIVED: "a number in the text that the paper's own tables give",
    CONTRADICTED: "a number in the text that the paper's own tables do not give",
}


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
    """All of them."""

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
    """Look at the runs below a folder; one that is not there holds none."""
    found = collect(root) if root.is_dir() else Collected(root, [], [])
    items = [item for name in TABLES for item in _table_items(layout.at_scale(found, paper_table(name), PAPER))]
    return Card(
        root=root,
        exists=root.is_dir(),
        items=items + [_remark(remark) for remark in paper_numbers.remarks()],
        num_runs=len(found.runs),
        num_micro=sum(run.cell["task"].startswith("micro/") for run in found.runs),
    )


def _table_items(layout: Layout) -> list[Item]:
    return [
        _item(layout, layout.entries[row][column], paper) for row, column, paper in paper_numbers.numbers(layout.table)
    ]


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
    """What a run at the paper's scale says of the number."""
    if any(matching.deviations(run, entry.choices, PAPER) for run in entry.runs):
        return dataclasses.replace(_otherwise(item, entry.runs, entry), value=entry.value)
    if entry.value is None:
        return dataclasses.replace(item, state=OTHER_SETTINGS, detail=entry.detail)
    state = REPRODUCED if _agrees(item, entry.value) else DIFFERENT
    return dataclasses.replace(item, state=state, value=entry.value)


def _agrees(item: Item, value: Value) -> bool:
    if value.interval is None:
        return round(value.mean, item.decimals) == round(item.paper, item.decimals)
    return value.interval.low <= item.paper <= value.interval.high


def _otherwise(item: Item, runs: Sequence[Run], entry: Entry) -> Item:
    differing = {key: value for run in runs for key, value in matching.deviations(run, entry.choices, PAPER).items()}
    said = ", ".join(f"{key}={value}" for key, value in sorted(differing.items()))
    return dataclasses.replace(item, state=OTHER_SETTINGS, detail=said, runs=tuple(runs))


def _remark(remark: paper_numbers.Remark) -> Item:
    """A number in the text is checked against the paper's own tables."""
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
    return " ".join(
        [
            "delamo run",
            "scale=paper",
            *(f"{key}={value}" for key, value in requirements.essential(entry.choices or {}).items()),
        ]
    )
