"""What the teacher cost over all runs: a stage that several cells share is counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import usd
from delamo.runs.read import Run

NOTE = (
    "Of each distinct result once, as recorded when it was computed, whichever cells share it. Cached: replies taken "
    "from the transcripts of earlier calls, which cost nothing again. A price of '-' is not known."
)
COUNTS = ("calls", "prompt_tokens", "completion_tokens", "cached")


def cost_blocks(runs: Sequence[Run]) -> list[Block]:
    """Build a row for each kind of stage that asked a teacher, and their sum; nothing where none did."""
    totals = totals_by_stage(runs)
    if not totals:
        return []
    rows = [[stage, *_cells(total)] for stage, total in totals.items()]
    rows.append(["all", *_cells(_sum(list(totals.values())))])
    columns = ["stage", "calls", "prompt tokens", "reply tokens", "cached", "USD"]
    return [Heading("What the teacher cost"), Table(columns, rows), Lines([NOTE])]


def totals_by_stage(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Sum the teacher's usage by kind of stage (`NAME@2` counts as `NAME`), each stage result of the store once."""
    distinct: dict[str, dict[Any, dict[str, Any]]] = {}
    for run in runs:
        for stage, usage in (run.metrics.get("cost") or {}).items():
            digest = run.stages.get(stage, {}).get("digest", (str(run.path), stage))
            distinct.setdefault(stage.partition("@")[0], {})[digest] = usage
    return {stage: _sum(list(usages.values())) for stage, usages in distinct.items()}


def _sum(usages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    prices = [usage["usd"] for usage in usages]
    counts = {key: sum(usage[key] for usage in usages) for key in COUNTS}
    return counts | {"usd": None if None in prices else sum(prices)}


def _cells(total: dict[str, Any]) -> list[str]:
    return [*(f"{total[key]:,}" for key in COUNTS), usd(total["usd"])]
