"""The run directories behind the tables, and the commands that follow a sample through them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from delamo.reports.comparison import Comparison
from delamo.reports.render.formats import Block, Code, Heading, Lines, Table
from delamo.reports.render.numbers import percent
from delamo.runs.lineage import selection
from delamo.runs.read import Run


def run_blocks(comparison: Comparison) -> list[Block]:
    """List the runs, those that are left out, and commands to go on with."""
    rows = [[str(run.path), percent(run.metrics["test"]["accuracy"])] for run in comparison.runs]
    blocks: list[Block] = [Heading("Runs"), Table(["run directory", "accuracy %"], rows)]
    if comparison.superseded:
        number = len(comparison.superseded)
        blocks.append(Lines([f"Not in the tables: {number} runs of a cell that has a newer run."]))
        blocks.append(Lines([str(run.path) for run in comparison.superseded], bullets=True))
    if comparison.unfinished:
        blocks.append(Lines([f"Not in the tables: {len(comparison.unfinished)} unfinished runs."]))
        blocks.append(Lines([f"{folder.path}: {folder.why}" for folder in comparison.unfinished], bullets=True))
    commands = trace_commands(comparison.runs, comparison.root)
    if commands:
        lead = "From an error to the samples that it brought in, and from a sample back to its error:"
        blocks += [Lines([lead]), Code(commands)]
    return blocks


def trace_commands(runs: Sequence[Run], root: Path) -> list[str]:
    """Return a `delamo trace` and a `delamo why` for the first sample that an error brought in; none where none did."""
    where = f"runs={quote(str(root))}"
    rows = (row for run in runs for row in (selection(run) if "mistakes" in run.stages else ()))
    first = next((row for row in rows if row.val_id is not None), None)
    return [f"delamo trace {quote(first.val_id)} {where}", f"delamo why {quote(first.id)} {where}"] if first else []
