"""Circular accuracy: an item is right only if it is right in every rotation of its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from delamo.reports.render.formats import Block, Heading, Lines, Table

if TYPE_CHECKING:
    from delamo.runs.read import Run


def circular_blocks(runs: Sequence[Run]) -> list[Block]:
    """Both accuracies of the runs that rotated options; nothing where none did."""
    found = [run for run in runs if "vanilla_accuracy" in run.metrics["test"]]
    if not found:
        return []
    rows = []
    for run in found:
        cell, test = run.cell, run.metrics["test"]
        both = (test["vanilla_accuracy"], test["accuracy"])
        rows.append([cell["task"], cell["selector"], str(cell["seed"]), *(f"{100 * share:.1f}" for share in both)])
    said = "Circular: right in every rotation of the options, the accuracy of all other tables. Vanilla: right as first asked."
    return [
        Heading("Circular evaluation"),
        Lines([said]),
        Table(["task", "selector", "seed", "vanilla %", "circular %"], rows),
    ]
