"""Circular accuracy: an item is right only if it is right in every rotation of its options."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from delamo.data.rotations import original
from delamo.records import ItemScore, Quarantined
from delamo.report.render.formats import Block, Heading, Lines, Table

if TYPE_CHECKING:
    from delamo.runs.read import Run


def circular_items(
    rows: Sequence[ItemScore], num_rotations: dict[str, int]
) -> tuple[list[ItemScore], list[Quarantined]]:
    """(one score an item, items of which only some rotations could be asked), in the order of the rows.

    A score has the reply, prediction and gold letter of the question as first asked, and `correct` over all rotations: None where the
    question as first asked is unparsed, False where any rotation is wrong or unparsed.

    Args:
        num_rotations: of each item, the question as first asked among them.
    """
    groups: dict[str, list[ItemScore]] = defaultdict(list)
    for row in rows:
        groups[original(row.id)].append(row)
    items, bad = [], []
    for id, group in groups.items():
        first = next((row for row in group if row.id == id), None)
        if first is None or len(group) != num_rotations[id]:
            detail = f"{len(group)} of {num_rotations[id]} rotations were answered"
            bad.append(Quarantined(id=id, stage="evaluation", reason="rotation missing", detail=detail))
        else:
            right = all(row.correct is True for row in group)
            items.append(replace(first, correct=None if first.correct is None else right))
    return items, bad


def vanilla_accuracy(rows: Sequence[ItemScore], items: Sequence[ItemScore]) -> float:
    """Share of the items that are right as first asked."""
    counted = {item.id for item in items}
    return sum(row.correct is True for row in rows if row.id in counted) / len(counted)


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
