"""Pool samples that a selector could not rank: too long, empty, a difficulty of 1 or above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.reports.methods import ranking_stages
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.runs.read import Run, stage_kind, with_measured

NOTE = (
    "They are selected after all others, at random (reason fill). Those without a number stand in the runs' "
    "quarantine.jsonl, each with its reason."
)


def unranked_blocks(runs: Sequence[Run]) -> list[Block]:
    """Count samples by stage, pool and reason.

    A line where there are none, nothing where no selector goes by numbers.
    """
    counts = _row_counts(runs)
    if not counts:
        return []
    rows = [
        [kind, pool, reason, f"{number:,}", f"{count['in']:,}"]
        for kind, pool, count in counts
        for reason, number in (count["failed"] | count["skipped"]).items()
        if number
    ]
    title = Heading("Pool samples that could not be ranked")
    if not rows:
        return [title, Lines([f"None: each has its {', '.join(sorted({kind for kind, _, _ in counts}))}."])]
    columns = ["stage", "pool", "reason", "samples", "of"]
    return [title, Table(columns, sorted(rows), num_text=3), Lines([NOTE])]


def _row_counts(runs: Sequence[Run]) -> list[tuple[str, str, dict[str, Any]]]:
    """Collect (kind, pool, rows in, failed and skipped) of each distinct result."""
    kinds = ranking_stages()
    counts: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for run in runs:
        for stage in run.stages.values():
            kind = stage_kind(stage)
            count = with_measured(stage).get("accounting") if kind in kinds else None
            if count:
                counts[stage["digest"]] = (kind.replace("_", " "), run.cell["pool"], count)
    return list(counts.values())
