"""Arrange runs in the layout of one of the paper's tables: numbers only; `delamo.paper.render` prints them.

At the microworld's scale the targets, budgets and models are others: `conf/scale` says which stands for which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from delamo.config import conf
from delamo.metrics import statistics
from delamo.metrics.comparison import PairedComparison, Verdict, verdict
from delamo.paper import matching
from delamo.paper.measures import MEASURES, MeasureInput, NotRecordedError, Value
from delamo.paper.numbers import ACCURACY, LOST, MICRO, PAPER, Column, Head, PaperTable, resolved
from delamo.reports.comparison import compared
from delamo.reports.methods import PRETRAINED, RANDOM, follows_budget, group, newest, same_setting
from delamo.runs.read import Run, RunCollection

NOT_RUN, NO_COUNTERPART, NOT_RECORDED = "not run", "no counterpart", "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One cell of the table."""

    row: int
    column: int
    paper: float | str | None
    """In the column's unit; None where the paper prints none, `LOST` where our copy lacks it."""
    choices: Mapping[str, Any] | None
    """The overrides that make the cell; None where the scale has no counterpart."""
    runs: tuple[Run, ...] = ()
    value: Value | None = None
    missing: str | None = None
    """Why there is no value: `NOT_RUN`, `NO_COUNTERPART`, `NOT_RECORDED`; None also where there need not be one."""
    detail: str | None = None
    """What was not recorded."""
    versus_random: PairedComparison | None = None
    p_holm: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What may be said of it against random; None where it is not compared."""
        return verdict(self.versus_random, self.p_holm) if self.versus_random else None

    @property
    def beats_random(self) -> bool | None:
        """Whether the verdict is that; None where there is none."""
        return None if self.verdict in (None, Verdict.NOT_JUDGED) else self.verdict is Verdict.BEATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One table at one scale."""

    table: PaperTable
    scale: str
    entries: list[list[Entry]]
    """[row][column]"""
    deviations: dict[str, Any]
    """Settings of the runs that are not the preset's."""
    left_out: list[Run]
    """Runs of these cells with other settings than those shown."""
    superseded: list[Run]
    """Runs of these cells that a newer run replaces."""
    num_unfinished: int

    @property
    def is_micro(self) -> bool:
        """Whether the runs are of the microworld."""
        return self.scale == MICRO

    @property
    def wanted(self) -> list[Entry]:
        """The entries that a run of their own should fill."""
        entries = [entry for row in self.entries for entry in row if has_number(self.table, entry)]
        return [entry for entry in entries if not self.table.rows[entry.row].of]


def lay_out(collection: RunCollection, table: PaperTable) -> list[Layout]:
    """Fill the table from these runs, once for each scale that has any.

    Raises:
        ValueError: no run belongs to a cell of it.
    """
    layouts = [at_scale(collection, table, scale) for scale in (PAPER, MICRO)]
    filled = [layout for layout in layouts if any(entry.runs for row in layout.entries for entry in row)]
    if not filled:
        raise ValueError(
            f"table is {table.name}: none of the {len(collection.runs)} finished runs under {collection.root} is one "
            f"of its cells; `delamo run -m experiment={table.name} scale=micro` makes them (a smoke grid, "
            "fast=true, has budgets of its own: `delamo report` without table)"
        )
    return filled


def has_number(table: PaperTable, entry: Entry) -> bool:
    """Tell whether there should be a number: the paper prints one, or the row is one of ours."""
    return entry.paper is not None or table.rows[entry.row].form is not None or bool(table.rows[entry.row].of)


def column_name(column: Column, scale: str) -> str:
    """Return the head of a column: the paper's, or in the microworld the target's own name."""
    if scale == PAPER:
        return column.name
    if column.ours:
        return column.ours
    task = (resolved(column.cell, scale) or {}).get("task")
    return task.removeprefix("micro/") if task else column.name


def labels(layout: Layout, row: int) -> list[str]:
    """Return what names a row of ours, one label for each head."""
    table = layout.table
    if not layout.is_micro:
        return list(table.rows[row].labels)
    entries = layout.entries[row]
    pairs = zip(table.heads, table.rows[row].labels, strict=True)
    return [_label(head, printed, entries[-1]) for head, printed in pairs]


def _label(head: Head, printed: str, entry: Entry) -> str:
    """Return the paper's word, or our value of the key that it stands for."""
    if head.key is None or printed in ("-", "0"):
        return printed
    if entry.choices is None:
        return f"({printed})"
    if head.key == "budget" and "budget" not in entry.choices:
        counts = {run.metrics["selection"]["num_samples"] for run in entry.runs}
        return f"{counts.pop():,}" if len(counts) == 1 else "-"
    key = {"budget": "budget.num_samples"}.get(head.key, head.key)
    value = conf.value(entry.choices, MICRO, key if "." in key else f"{key}.name")
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return str(value).removeprefix("micro/")


def at_scale(collection: RunCollection, table: PaperTable, scale: str) -> Layout:
    """Fill the table from the runs that belong to its cells at one scale; there may be none."""
    rows, columns, runs = range(len(table.rows)), range(len(table.columns)), collection.runs
    chosen = {(row, column): table.choices(row, column, scale) for row in rows for column in columns}
    wanted = {cell: choices for cell, choices in chosen.items() if choices and not table.rows[cell[0]].of}
    matched = matching.find(wanted, runs, scale)
    entries = [[_entry(table, row, column, chosen[row, column], matched, runs) for column in columns] for row in rows]
    entries = _summaries(table, _judged(table, entries, runs))
    return Layout(
        table=table,
        scale=scale,
        entries=entries,
        deviations=matched.deviations,
        left_out=matched.left_out,
        superseded=matched.superseded,
        num_unfinished=len(collection.unfinished),
    )


def _entry(
    table: PaperTable,
    row: int,
    column: int,
    choices: Mapping[str, Any] | None,
    matched: matching.MatchedRuns,
    all_runs: Sequence[Run],
) -> Entry:
    runs = tuple(matched.runs.get((row, column), ()))
    entry = Entry(row=row, column=column, paper=table.rows[row].values[column], choices=choices, runs=runs)
    if not has_number(table, entry) or table.rows[row].of:
        return entry
    if choices is None:
        return replace(entry, missing=NO_COUNTERPART)
    if not runs:
        return replace(entry, missing=NOT_RUN)
    try:
        source = MeasureInput(
            runs=runs,
            untuned=_peers(runs[0], PRETRAINED, all_runs),
            methods=_methods(runs[0], all_runs),
            form=table.rows[row].form,
        )
        return replace(entry, value=MEASURES[table.columns[column].measure](source))
    except ValueError as error:
        known = isinstance(error, NotRecordedError)
        return replace(entry, missing=NOT_RECORDED, detail=str(error) if known else f"{runs[0].path}: {error}")


def _peers(run: Run, selector: str, runs: Sequence[Run]) -> list[Run]:
    """Collect the runs of another selector on the same target, by the same student and settings, one for each seed."""
    same = [
        other
        for other in runs
        if other.cell["selector"] == selector
        and all(other.cell[role] == run.cell[role] for role in ("task", "student"))
        and (selector == PRETRAINED or other.cell["budget"] == run.cell["budget"])
        and same_setting(run, other)
    ]
    return newest(same)[0]


def _methods(run: Run, runs: Sequence[Run]) -> list[list[Run]]:
    """Collect the runs of each method that stands in the report's table of a run, on the same target."""
    near = [
        other
        for other in runs
        if all(other.cell[role] == run.cell[role] for role in ("task", "student", "pool"))
        and (not follows_budget(other.cell["selector"]) or other.cell["budget"] == run.cell["budget"])
    ]
    return [newest(same)[0] for _, same in group(near)]


def _judged(table: PaperTable, entries: list[list[Entry]], runs: Sequence[Run]) -> list[list[Entry]]:
    """Compare accuracies that have a budget with random's at the same one, with Holm's correction over the table."""
    against = [[_compared(table, entry, runs) for entry in row] for row in entries]
    inferences = {
        (entry.row, entry.column): entry.versus_random.inference
        for row in against
        for entry in row
        if entry.versus_random and entry.versus_random.inference
    }
    adjusted = statistics.holm([inference.p for inference in inferences.values()])
    p_holm = dict(zip(inferences, adjusted, strict=True))
    return [[replace(entry, p_holm=p_holm.get((entry.row, entry.column))) for entry in row] for row in against]


def _compared(table: PaperTable, entry: Entry, runs: Sequence[Run]) -> Entry:
    judged = table.columns[entry.column].measure == ACCURACY and entry.choices and "budget" in entry.choices
    if not judged or entry.value is None or entry.choices["selector"] in (PRETRAINED, RANDOM):
        return entry
    random = _peers(entry.runs[0], RANDOM, runs)
    if not random:
        return entry
    return replace(entry, versus_random=compared(entry.runs, random, _methods(entry.runs[0], runs)))


def _summaries(table: PaperTable, entries: list[list[Entry]]) -> list[list[Entry]]:
    """Fill the rows that are mean and standard deviation of others."""
    return [
        [_summary([entries[other][entry.column] for other in row.of], entry) for entry in cells] if row.of else cells
        for row, cells in zip(table.rows, entries, strict=True)
    ]


def _summary(parts: Sequence[Entry], entry: Entry) -> Entry:
    printed = [part.paper for part in parts]
    paper = statistics.over_seeds(printed).mean if not {None, LOST}.intersection(printed) else None
    values = [part.value for part in parts]
    if None in values:
        return replace(entry, paper=paper, missing=NOT_RUN)
    summary = statistics.over_seeds([value.mean for value in values])
    runs = tuple(run for part in parts for run in part.runs)
    value = Value(mean=summary.mean, sd=summary.sd, n=values[0].n, num_runs=len(runs))
    return replace(entry, paper=paper, runs=runs, value=value)
