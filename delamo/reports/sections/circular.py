"""Circular accuracy beside the accuracy of the questions as first asked."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import percent
from delamo.runs.read import Run

NOTE = (
    "Circular: right in every rotation of the options, the accuracy of all other tables. Vanilla: right as first asked."
)


def circular_blocks(runs: Sequence[Run]) -> list[Block]:
    """Build a row for each run that rotated options; nothing where none did."""
    rows = []
    for run in runs:
        cell, test = run.cell, run.metrics["test"]
        if "vanilla_accuracy" in test:
            both = percent(test["vanilla_accuracy"]), percent(test["accuracy"])
            rows.append([cell["task"], cell["selector"], str(cell["seed"]), *both])
    if not rows:
        return []
    table = Table(["task", "selector", "seed", "vanilla %", "circular %"], rows)
    return [Heading("Circular evaluation"), Lines([NOTE]), table]
