"""What the leakage audit removed, target by target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.runs.read import Run

NOTE = (
    "Pool samples that meet a validation or test sample, once for each way of meeting: picture (the same bytes, or "
    "address of a rendered picture), picture name, near picture, text. No selector may choose them; leaks.jsonl in the "
    "run directories lists them. An equal scene is a chance of the microworld, two addresses with the same pixels: "
    "counted, and left in the pool."
)


def leakage_blocks(runs: Sequence[Run]) -> list[Block]:
    """Build a table of distinct leaks by target and kind.

    A line where there is none, nothing where no pool was audited.
    """
    audited = [run for run in runs if run.metrics.get("leakage") is not None]
    if not audited:
        return []
    leaks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in audited:
        for leak in run.leaks:
            leaks[run.cell["task"], leak.kind].add(leak.pool_id)
    title = Heading("Leakage audit")
    if not leaks:
        tasks = len({run.cell["task"] for run in audited})
        none = f"Of {tasks} target{'s' * (tasks > 1)}, no validation or test sample is met in the pool."
        return [title, Lines([none])]
    rows = [[task, kind, f"{len(ids):,}"] for (task, kind), ids in sorted(leaks.items())]
    return [title, Table(["target", "meets by", "pool samples"], rows, num_text=2), Lines([NOTE])]
