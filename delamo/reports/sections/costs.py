"""What the teacher cost over all runs: a stage that several cells share is counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.runs.read import Run

NOTE = (
    "Of each distinct result once, as recorded when it was computed, whichever cells share it. Cached: replies taken from the "
    "transcripts of earlier calls, which cost nothing again. A price of '-' is not known."
)
COUNTS = ("calls", "prompt_tokens", "completion_tokens", "cached")


def cost_blocks(runs: Sequence[Run]) -> list[Block]:
    """A row for each kind of stage that asked a teacher, and their sum; nothing where none did."""
    totals = totals_by_stage(runs)
    if not totals:
        return []
    rows = [[stage, *_cells(total)] for stage, total in totals.items()]
    rows.append(["all", *_cells(_sum(list(totals.values())))])
    titles = ["stage", "calls", "prompt tokens", "reply tokens", "cached", "USD"]
    return [Heading("What the teacher cost"), Table(titles, rows), Lines([NOTE])]


def totals_by_stage(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Spent by kind of stage (`NAME@2` counts as `NAME`), each stage result of the store once."""
    distinct: dict[str, dict[Any, dict[str, Any]]] = {}
    for run in runs:
        for stage, spent in (run.metrics.get("cost") or {}).items():
            digest = run.stages.get(stage, {}).get("digest", (str(run.path), stage))
            distinct.setdefault(stage.partition("@")[0], {})[digest] = spent
    return {stage: _sum(list(found.values())) for stage, found in distinct.items()}


def _sum(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    usd = [part["usd"] for part in parts]
    return {key: sum(part[key] for part in parts) for key in COUNTS} | {"usd": None if None in usd else sum(usd)}


def _cells(total: dict[str, Any]) -> list[str]:
    return [*(f"{total[key]:,}" for key in COUNTS), "-" if total["usd"] is None else f"{total['usd']:.2f}"]
