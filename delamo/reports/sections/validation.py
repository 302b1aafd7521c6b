"""The validation samples before tuning."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import percent
from delamo.runs.read import Run

NOTE = "Errors: samples that went on to mistake identification, by default the wrong and the unparsed ones."
COLUMNS = ("target", "student", "n", "correct", "wrong", "unparsed", "errors", "accuracy %")


def validation_blocks(runs: Sequence[Run]) -> list[Block]:
    """Build a row for each target and student; nothing where no selector read the answers."""
    rows = []
    for run in runs:
        counts = run.metrics["validation"]
        if counts and counts["n"]:
            wrong = counts["n"] - counts["correct"] - counts["unparsed"]
            numbers = (counts["n"], counts["correct"], wrong, counts["unparsed"], counts["errors"])
            names = run.cell["task"], run.cell["student"]
            rows.append((*names, *map(str, numbers), percent(counts["correct"] / counts["n"])))
    if not rows:
        return []
    table = Table(COLUMNS, list(dict.fromkeys(rows)), num_text=2)
    return [Heading("Validation samples, before tuning"), table, Lines([NOTE])]
