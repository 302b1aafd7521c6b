"""Write runs in the layout of one of the paper's tables, with the paper's numbers beside them if wanted.

The microworld's numbers are another world's. Beside the paper's they stand in a column of their own under a head that
says so, and nothing is said of how near they come.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from delamo.metrics.comparison import Verdict
from delamo.paper.layout import (
    NO_COUNTERPART,
    NOT_RECORDED,
    NOT_RUN,
    Entry,
    Layout,
    column_name,
    has_number,
    labels,
)
from delamo.paper.measures import Value
from delamo.paper.numbers import LOST, MICRO, PAPER
from delamo.reports.render.formats import BEATS, WIDTH, Block, Heading, Lines, Table, fitting
from delamo.reports.render.numbers import not_judged

WORLD = (
    "These runs are of the microworld: another world, with its own targets, budgets and models in the places of the "
    "paper's. None of its numbers is a reproduction of one of the paper's; what may be compared is which row comes "
    "before which."
)
OURS, OURS_MICRO = "ours", "ours (microworld)"
INTERVAL = "  95 %"
BLANK = "-"
MEANINGS = {
    NOT_RUN: "have no finished run",
    NO_COUNTERPART: "have no counterpart in the microworld",
    NOT_RECORDED: "are not in what their runs recorded",
}
DEFINITIONS = {
    "accuracy": "Accuracy: correct / n test items in percent, an unparsed answer not correct; the mean over the runs "
    "of a cell, under it Wilson's 95 % interval for n items.",
    "gain": "Gain: accuracy minus the untouched student's on the same items, in points, with the 95 % interval for "
    "other runs on other items; '1 run: not judged' where no method on the target has the runs that tell how much they "
    "vary.",
    "step_accuracy": "Mistake steps in the microworld: against the first sentence that is false in the scene, over the "
    "errors that have one, with Wilson's 95 % interval.",
    "steps": "Reasoning steps: sentences of the rationale, the mean over the validation errors in which a mistake was "
    "looked for.",
    "seconds_tuning": "Seconds: as measured when the stage was computed, on the machine that computed it, whichever "
    "cells share it.",
    "usd": "API cost: of mistake identification and skill analysis, as recorded; a local teacher costs nothing.",
    "read": "Found in: percent of the test replies in which the expression is found; one reply may hold several.",
}
"""What the footer says of a measure."""
DAGGER = (
    f"A dagger ({BEATS}): beats random selection at the same budget, by the test of `delamo report` for other runs on "
    "other items, p by Holm over all judged cells of this table below 0.05."
)
COLUMNS = (
    *("table", "scale", "world", "row", "column", "unit", "value", "sd", "low", "high", "n", "num_runs"),
    *("minus_random", "p_holm", "beats_random", "verdict", "missing", "runs"),
)
COLUMNS_PAPER = ("paper_row", "paper_column", "paper", "paper_in_interval")


def blocks(layout: Layout, *, beside: bool) -> list[Block]:
    """Build one layout, our table first.

    Args:
        layout: of the runs.
        beside: whether the paper's numbers stand beside ours.
    """
    table = layout.table
    shown: list[Block] = [Heading(f"{table.name}: {table.title}", 1), Lines(_introduction(layout))]
    shown += _own_tables(layout)
    shown.append(Lines(_accounts(layout), bullets=True))
    if beside:
        shown += [block for column in range(len(table.columns)) for block in _pair_table(layout, column)]
    return [*shown, Heading("How to read the table"), Lines(_footer(layout, beside=beside), bullets=True)]


def own_text(value: Value | None, decimals: int) -> str:
    """Write a number of ours, with its standard deviation where it is a summary of single runs."""
    if value is None:
        return BLANK
    text = f"{value.mean:.{decimals}f}"
    is_summary = value.sd is not None and value.interval is None
    return f"{text} ({value.sd:.{decimals}f})" if is_summary else text


def paper_text(value: float | str | None, decimals: int) -> str:
    """Write a number of the paper, as printed."""
    return BLANK if value is None else value if isinstance(value, str) else f"{value:,.{decimals}f}"


def _introduction(layout: Layout) -> list[str]:
    table = layout.table
    lines = [f"Layout of the paper's {table.source}; scale={layout.scale}."]
    return [*lines, WORLD, _counterparts(layout)] if layout.is_micro else lines


def _counterparts(layout: Layout) -> str:
    """Say which target stands for which of the paper's."""
    pairs: dict[str, str] = {}
    for row in layout.entries:
        for entry in row:
            printed = layout.table.choices(entry.row, entry.column, PAPER) or {}
            if entry.choices and "task" in printed:
                pairs[printed["task"]] = entry.choices["task"].removeprefix("micro/")
    return f"In the places of the targets: {', '.join(f'{ours} for {theirs}' for theirs, ours in pairs.items())}."


def _own_tables(layout: Layout) -> list[Block]:
    """Set rows and columns as in the paper, under each row its intervals; cut where the terminal is too narrow."""
    heads = [head.name for head in layout.table.heads]
    rows, columns = [], [column_name(column, layout.scale) for column in layout.table.columns]
    for index, entries in enumerate(layout.entries):
        names = _with_runs(labels(layout, index), entries)
        rows.append([*names, *(_cell(layout, entry) for entry in entries)])
        intervals = [_interval(layout, entry) for entry in entries]
        if any(intervals):
            rows.append([INTERVAL, *("" for _ in heads[1:]), *intervals])
    widths = [max(map(len, texts)) for texts in zip(*([*heads, *columns], *rows), strict=True)]
    fixed = sum(widths[: len(heads)]) + 3 * len(heads) + 1
    parts = _balanced(widths[len(heads) :], fixed)
    return [_part(heads, columns, rows, part) for part in parts]


def _part(heads: list[str], columns: list[str], rows: list[list[str]], part: slice) -> Table:
    """Cut out some columns of a table; a row of intervals stays where one of them has any."""
    cut = [[*row[: len(heads)], *row[len(heads) :][part]] for row in rows]
    return Table([*heads, *columns[part]], [row for row in cut if any(row[len(heads) :])], len(heads))


def _with_runs(names: list[str], entries: list[Entry]) -> list[str]:
    """Add to the first label the number of runs that the row's cells are means of, where there are several."""
    counts = sorted({entry.value.num_runs for entry in entries if entry.value})
    if not counts or counts == [1]:
        return names
    return [f"{names[0]}, {' or '.join(map(str, counts))} runs", *names[1:]]


def _balanced(widths: list[int], fixed: int) -> list[slice]:
    """Cut into as few parts as fit the terminal, of nearly equal numbers of columns."""
    for number in range(len(fitting(widths, fixed, WIDTH)), len(widths) + 1):
        cuts = [round(part * len(widths) / number) for part in range(number + 1)]
        parts = [slice(start, end) for start, end in pairwise(cuts)]
        if all(fixed + sum(widths[part]) + 3 * len(widths[part]) <= WIDTH for part in parts):
            return parts
    return [slice(index, index + 1) for index in range(len(widths))]


def _pair_table(layout: Layout, column: int) -> list[Block]:
    """Set ours and the paper's, row by row, for one column."""
    paper_column = layout.table.columns[column]
    ours = column_name(paper_column, layout.scale)
    micro, decimals = layout.is_micro, paper_column.decimals
    heads = [head.name for head in layout.table.heads]
    rows = []
    for names, entries in zip(_row_names(layout), layout.entries, strict=True):
        entry = entries[column]
        interval = _interval(layout, entry)
        own = _cell(layout, entry) + (f" ({interval})" if interval else "")
        row = [*names, own, paper_text(entry.paper, decimals)]
        rows.append(row if micro else [*row, _inside(entry)])
    titles = [OURS_MICRO if micro else OURS, "paper"] + ([] if micro else ["in our interval"])
    title = paper_column.name if ours == paper_column.name else f"{ours}, beside the paper's {paper_column.name}"
    return [Heading(title, 3), Table([*heads, *titles], rows, len(heads))]


def _row_names(layout: Layout) -> list[list[str]]:
    """Name each row in both worlds: `ours / the paper's` where the two differ."""
    return [
        [
            own if _amount(own) == _amount(printed) else f"{own} / {printed}"
            for own, printed in zip(labels(layout, index), row.labels, strict=True)
        ]
        for index, row in enumerate(layout.table.rows)
    ]


def _amount(label: str) -> float | str:
    """Read a label as a number, `0.1K` being 100; the label itself where it is none."""
    plain = label.replace(",", "")
    try:
        return float(plain.removesuffix("K")) * (1000 if plain.endswith("K") else 1)
    except ValueError:
        return label


def _cell(layout: Layout, entry: Entry) -> str:
    if entry.missing:
        return {NOT_RECORDED: "?", NO_COUNTERPART: "none"}.get(entry.missing, entry.missing)
    return own_text(entry.value, _decimals(layout, entry)) + (BEATS if entry.verdict is Verdict.BEATS else "")


def _decimals(layout: Layout, entry: Entry) -> int:
    """Choose the decimals: a thousand items give no second place; the paper's scale keeps the paper's."""
    column = layout.table.columns[entry.column]
    return min(column.decimals, 1) if layout.is_micro and column.unit in ("%", "points") else column.decimals


def _interval(layout: Layout, entry: Entry) -> str:
    interval = entry.value.interval if entry.value else None
    if interval is None:
        return f"{entry.value.not_judged}: not judged" if entry.value and entry.value.not_judged else ""
    decimals = _decimals(layout, entry)
    between = " to " if interval.low < 0 else "\N{EN DASH}"
    return f"{interval.low:.{decimals}f}{between}{interval.high:.{decimals}f}"


def _inside(entry: Entry) -> str:
    interval = entry.value.interval if entry.value else None
    if interval is None or not isinstance(entry.paper, int | float):
        return BLANK
    return "yes" if interval.low <= entry.paper <= interval.high else "no"


def _accounts(layout: Layout) -> list[str]:
    """Count what is missing and what stands aside."""
    wanted = layout.wanted
    counts = Counter(entry.missing for entry in wanted if entry.missing)
    lines = [f"{len(wanted) - counts.total()} of {len(wanted)} cells have a number."]
    unjudged = Counter(verdict_text(entry) for entry in wanted if entry.verdict is Verdict.NOT_JUDGED)
    lines += [f"{count} against random: {why}." for why, count in unjudged.items()]
    marks = {NOT_RUN: "not run", NO_COUNTERPART: "none", NOT_RECORDED: "?"}
    lines += [f"{counts[why]} {MEANINGS[why]} ('{marks[why]}')." for why in MEANINGS if counts[why]]
    details = Counter(entry.detail for entry in wanted if entry.detail)
    lines += [f"{count} of these: {detail}." for detail, count in details.most_common()]
    if layout.deviations:
        settings = ", ".join(f"{key}={value}" for key, value in sorted(layout.deviations.items()))
        lines.append(f"Not as in the preset: {settings}.")
    if layout.left_out:
        lines.append(
            f"{len(layout.left_out)} runs of these cells have other settings and stand aside; name a narrower runs=DIR."
        )
    if layout.superseded:
        paths = ", ".join(str(run.path) for run in layout.superseded)
        lines.append(f"{len(layout.superseded)} runs of these cells have a newer run and stand aside: {paths}.")
    if layout.num_unfinished:
        lines.append(f"{layout.num_unfinished} runs below the folder are not finished; delamo report names them.")
    return lines


def _footer(layout: Layout, *, beside: bool) -> list[str]:
    measures = {column.measure for column in layout.table.columns}
    lines = [text for measure, text in DEFINITIONS.items() if measure in measures]
    if any(entry.versus_random for row in layout.entries for entry in row):
        lines.append(DAGGER)
    lines += layout.table.notes
    lines += _correlations(layout, beside=beside)
    if beside:
        if layout.is_micro:
            lines.append("In the names of the rows beside the paper's: ours / the paper's, where they differ.")
        lines += [f"The paper contradicts itself: {text}" for text in layout.table.inconsistent]
        lines += [f"'{LOST}': {layout.table.lost}."] if layout.table.lost else []
        underivable = [column for column in layout.table.columns if column.underivable]
        lines += sorted({f"{column.name} in the paper: {column.underivable}." for column in underivable})
    return lines


def _correlations(layout: Layout, *, beside: bool) -> list[str]:
    """Correlate steps with gain, for Table 12."""
    if [column.measure for column in layout.table.columns] != ["steps", "gain"]:
        return []
    own = [[entry.value.mean for entry in row] for row in layout.entries if all(entry.value for entry in row)]
    name = OURS_MICRO if layout.is_micro else OURS
    lines = [_correlation(name, own)]
    if beside:
        lines.append(_correlation("the paper's", [[entry.paper for entry in row] for row in layout.entries]))
    return lines


def _correlation(whose: str, rows: list[list[Any]]) -> str:
    from scipy.stats import pearsonr, spearmanr

    if len(rows) < 3:
        return f"Steps against gain, {whose}: {len(rows)} targets are too few for a correlation."
    steps, gains = [row[0] for row in rows], [row[1] for row in rows]
    tests = [("Pearson's r", pearsonr(steps, gains)), ("Spearman's rho", spearmanr(steps, gains))]
    numbers = ", ".join(f"{name} {test.statistic:+.2f} (p {test.pvalue:.3f})" for name, test in tests)
    return f"Steps against gain, {whose}: {numbers} over {len(rows)} targets."


def columns(*, beside: bool) -> tuple[str, ...]:
    """Return the columns of the records."""
    return COLUMNS + (COLUMNS_PAPER if beside else ())


def plain(layout: Layout, *, beside: bool) -> dict[str, Any]:
    """Build the layout for JSON.

    Args:
        layout: of the runs.
        beside: whether the paper's numbers stand beside ours.
    """
    return {
        "table": layout.table.name,
        "title": layout.table.title,
        "source": layout.table.source,
        "scale": layout.scale,
        "note": WORLD if layout.is_micro else None,
        "deviations": layout.deviations,
        "left_out": [str(run.path) for run in layout.left_out],
        "superseded": [str(run.path) for run in layout.superseded],
        "counts": dict(Counter(entry.missing or "filled" for entry in layout.wanted)),
        "cells": records(layout, beside=beside),
    }


def records(layout: Layout, *, beside: bool) -> list[dict[str, Any]]:
    """Build a record for each cell; numbers in the unit of the column, unrounded.

    Args:
        layout: of the runs.
        beside: whether the paper's numbers stand beside ours.
    """
    return [
        _record(layout, entry) | (_paper_record(layout, entry) if beside else {})
        for row in layout.entries
        for entry in row
        if has_number(layout.table, entry)
    ]


def _record(layout: Layout, entry: Entry) -> dict[str, Any]:
    column, value, versus = layout.table.columns[entry.column], entry.value, entry.versus_random
    interval = value.interval if value else None
    return {
        "table": layout.table.name,
        "scale": layout.scale,
        "world": OURS_MICRO if layout.is_micro else OURS,
        "row": " / ".join(labels(layout, entry.row)),
        "column": column_name(column, layout.scale),
        "unit": column.unit,
        "value": value.mean if value else None,
        "sd": value.sd if value else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "n": value.n if value else None,
        "num_runs": value.num_runs if value else 0,
        "minus_random": 100 * versus.difference if versus else None,
        "p_holm": entry.p_holm,
        "beats_random": None if entry.beats_random is None else int(entry.beats_random),
        "verdict": verdict_text(entry),
        "missing": f"{entry.missing}: {entry.detail}" if entry.detail else entry.missing,
        "runs": " ".join(str(run.path) for run in entry.runs),
    }


def verdict_text(entry: Entry) -> str | None:
    """Write the verdict against random, and where there is none why; None for what is not compared."""
    if entry.verdict is Verdict.NOT_JUDGED and entry.versus_random:
        return not_judged(entry.versus_random)
    return entry.verdict.value if entry.verdict else None


def _paper_record(layout: Layout, entry: Entry) -> dict[str, Any]:
    row, column = layout.table.rows[entry.row], layout.table.columns[entry.column]
    inside = _inside(entry)
    return {
        "paper_row": " / ".join(row.labels),
        "paper_column": column.name,
        "paper": entry.paper,
        "paper_in_interval": None if layout.scale == MICRO or inside == BLANK else int(inside == "yes"),
    }
