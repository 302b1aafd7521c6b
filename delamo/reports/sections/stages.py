"""What all runs took together: rows that were held back, and the seconds of each stage."""

from __future__ import annotations

from delamo.reports.comparison import Comparison
from delamo.reports.render.formats import Block, Heading, Lines, Table


def quarantine_blocks(comparison: Comparison) -> list[Block]:
    """Count the quarantined rows by stage and reason."""
    title = Heading("Quarantined rows")
    if not comparison.quarantined:
        return [title, Lines(["None: every row of every input was used."])]
    rows = [[c.stage, c.reason, str(c.rows), str(c.runs)] for c in comparison.quarantined]
    files = Lines(["Each row with file, place and value: quarantine.jsonl in the run directories below."])
    return [title, Table(["stage", "reason", "rows", "runs"], rows, num_text=2), files]


def seconds_blocks(comparison: Comparison) -> list[Block]:
    """Build a row for each kind of stage, and their sum; nothing where the runs name no stage."""
    if not comparison.stages:
        return []
    rows = [[s.stage, f"{s.seconds:.1f}", str(s.computed), str(s.reused)] for s in comparison.stages]
    rows.append(["all", f"{sum(s.seconds for s in comparison.stages):.1f}", "", ""])
    note = (
        "Seconds: of each distinct result once, as measured when it was computed. Reused: how often a run found one in "
        "the store."
    )
    return [Heading("Seconds of each stage"), Table(["stage", "seconds", "computed", "reused"], rows), Lines([note])]
