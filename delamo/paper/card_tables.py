"""The reproduction card as Markdown, LaTeX, CSV or JSON; the counts stand on top."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delamo.paper import requirements
from delamo.paper.card import NOT_DERIVABLE, NOT_RUN, REPRODUCED, STATES, TEXT, Card, Item, make
from delamo.paper.numbers import LOST, TABLES, paper_table
from delamo.reports.render.formats import WIDTH, Block, Heading, Lines, Table, csv_text, latex, markdown

SCHEMA_VERSION = 1
FORMATS = ("markdown", "json", "csv", "latex")
COLUMNS = (
    *("table", "row", "column", "unit", "paper", "state", "value", "low", "high", "num_runs", "needs", "gpu_hours"),
    *("detail", "command", "runs"),
)


def card(runs: Path, format: str = "markdown", out: Path | None = None) -> str:
    """The card, or where it was written and what it comes to.

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
    out.write_text(text + "\n", encoding="utf-8")
    return f"{out}: {headline(made)}"


def _text(made: Card, format: str) -> str:
    if format == "json":
        return _json(made)
    if format == "csv":
        records = [_record(item) for item in made.items]
        return csv_text(COLUMNS, [[record[column] for column in COLUMNS] for record in records])
    return (markdown if format == "markdown" else latex)(blocks(made))


def headline(made: Card) -> str:
    """How many of the paper's numbers are reproduced."""
    return f"{made.counts[REPRODUCED]} of the paper's {len(made.items)} numbers are reproduced here."


def blocks(made: Card) -> list[Block]:
    """The card as blocks, the counts first."""
    found: list[Block] = [Heading("Reproduction card", 1), *_summary(made), *_missing(made)]
    for name in TABLES:
        items = [item for item in made.items if item.table == name]
        if items:
            found += [
                Heading(f"{name}: {paper_table(name).title}"),
                *_item_tables(items),
                *_details(items),
                *_lost(name),
            ]
    remarks = [item for item in made.items if item.table == TEXT]
    return [*found, Heading("Numbers in the text"), *_item_tables(remarks), *_details(remarks)]


def _summary(made: Card) -> list[Block]:
    total = len(made.items)
    rows = [[state, str(made.counts[state]), meaning] for state, meaning in STATES.items()]
    where = (
        f"{made.num_runs} finished runs below {made.root}"
        if made.exists
        else f"{made.root}: no such folder, so no runs"
    )
    lines = [f"{headline(made)} Looked at: {where}."]
    if made.num_micro:
        lines.append(
            f"{made.num_micro} of these runs are of the microworld, which is another world: they reproduce no number of the paper."
        )
    counts = [[state, count] for state, count, _ in rows] + [["all", str(total)]]
    meanings = Lines([f"{state}: {meaning}." for state, _, meaning in rows], bullets=True)
    return [Lines(lines), Table(["state", "numbers"], counts), meanings]


def _lost(name: str) -> list[Block]:
    """What our copy of the paper lacks."""
    table = paper_table(name)
    where = [
        f"{', '.join(row.labels)}, {column.name}"
        for row in table.rows
        for column, value in zip(table.columns, row.values, strict=True)
        if value == LOST
    ]
    return [Lines([f"Not listed: {'; '.join(where)}: {table.lost}."])] if where else []


def _missing(made: Card) -> list[Block]:
    """Each thing that is not here, with the number of numbers that wait for it."""
    waiting = Counter(need for item in made.items for need in item.needs)
    if not waiting:
        return []
    rows = [[need.kind, need.what, str(count)] for need, count in sorted(waiting.items())]
    hours = {tuning: item.gpu_hours / len(item.tunings) for item in made.items for tuning in item.tunings}
    said = (
        f"The {len(hours)} distinct tunings that were not run take {sum(hours.values()):,.0f} A100 GPU-hours by the paper's own timings "
        "(Table 6), in proportion to the samples; answering and evaluation are not in them. One that does not look at the target counts "
        "once, as if the audit removed nothing from the pool. More of one table: "
        "delamo plan experiment=table1 scale=paper."
    )
    return [Heading("What is missing here"), Table(["kind", "what", "numbers"], rows, num_text=2), Lines([said])]


def _item_tables(items: Sequence[Item]) -> list[Block]:
    """A row for each number; one table for each column of the paper's where one for all is too wide."""
    whole = _item_table(items)
    if _width(whole) <= WIDTH:
        return [whole]
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(item.column, []).append(item)
    return [block for name, some in parts.items() for block in (Heading(name, 3), _item_table(some, of=False))]


def _item_table(items: Sequence[Item], *, of: bool = True) -> Table:
    """What is missing stands only where something was not run, ours only where something was."""
    texts = {"number": [item.row for item in items], "of": [item.column for item in items]}
    texts["state"] = [item.state for item in items]
    if any(item.state == NOT_RUN for item in items):
        texts["needs"] = [_needed(item) for item in items]
    numbers = {"paper": [f"{item.paper:,.{item.decimals}f}" for item in items]}
    if any(item.value for item in items):
        numbers["ours (95 %)"] = [_ours(item) for item in items]
    if any(item.gpu_hours for item in items):
        numbers["GPU-h"] = [f"{item.gpu_hours:.1f}" if item.gpu_hours else "-" for item in items]
    if not of:
        del texts["of"]
    columns = texts | numbers
    return Table(list(columns), [list(row) for row in zip(*columns.values(), strict=True)], num_text=len(texts))


def _width(table: Table) -> int:
    widths = [max(map(len, texts)) for texts in zip(table.columns, *table.rows, strict=True)]
    return sum(widths) + 3 * len(widths) + 1


def _needed(item: Item) -> str:
    """The kinds of what is missing; a GPU is missing everywhere or nowhere, and stands above."""
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
    """Why numbers cannot be derived, or what differs, each reason once."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.detail:
            whose = (
                item.row
                if item.table == TEXT
                else item.column
                if item.state == NOT_DERIVABLE
                else f"{item.row}, {item.column}"
            )
            named = reasons.setdefault(f"{item.state}: {item.detail}", [])
            if whose not in named:
                named.append(whose)
    return (
        [Lines([f"{'; '.join(named)}: {reason}." for reason, named in reasons.items()], bullets=True)]
        if reasons
        else []
    )


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
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)


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
