"""Pool samples that a selector had no number for, or none that it takes: too long, empty, a difficulty of 1 or above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.sections.selection_costs import measured
from delamo.runs.read import Run

NUMBERS = ("embeddings", "hidden_states", "difficulty", "gradients")
"""Stages that give each pool sample the numbers that a selector goes by."""
NOTE = (
    "They are selected after all others, at random (reason fill). Those without a number stand in the runs' quarantine.jsonl, each with "
    "its reason."
)


def unranked_blocks(runs: Sequence[Run]) -> list[Block]:
    """Counts by stage, pool and reason; a line where there are none, nothing where no selector goes by such numbers."""
    accounts = _accounts(runs)
    if not accounts:
        return []
    rows = [
        [kind, pool, reason, f"{count:,}", f"{account['in']:,}"]
        for kind, pool, account in accounts
        for reason, count in (account["failed"] | account["skipped"]).items()
        if count
    ]
    title = Heading("Pool samples that could not be ranked")
    if not rows:
        return [title, Lines([f"None: each has its {', '.join(sorted({kind for kind, _, _ in accounts}))}."])]
    columns = ["stage", "pool", "reason", "samples", "of"]
    return [title, Table(columns, sorted(rows), num_text=3), Lines([NOTE])]


def _accounts(runs: Sequence[Run]) -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, pool, rows in, failed and skipped) of each distinct result."""
    found: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for run in runs:
        for stage in run.stages.values():
            kind = Path(stage["path"]).parent.name
            account = measured(stage).get("accounting") if kind in NUMBERS else None
            if account:
                found[stage["digest"]] = (kind.replace("_", " "), run.cell["pool"], account)
    return list(found.values())
