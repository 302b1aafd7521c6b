"""How alike the selections of one budget are, as a table; `delamo.reports.plots` draws the same numbers."""

from __future__ import annotations

from delamo.reports.comparison import Budget
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import NOTHING

DEFINITION = (
    "Jaccard index of the selected samples (shared by both / in either), the mean over all pairs of runs; on the "
    "diagonal over pairs of different runs of one selector, 1 where it has a single run."
)


def overlap_blocks(budget: Budget) -> list[Block]:
    """Build the lower triangle of the index, methods against methods; nothing where less than two methods selected."""
    overlap = budget.overlap
    if overlap is None:
        return []
    numbers = [str(number) for number in range(1, len(overlap.methods) + 1)]
    rows = [
        [f"{number} {name}", *(_cell(value, column <= row) for column, value in enumerate(overlap.values[row]))]
        for row, (number, name) in enumerate(zip(numbers, overlap.methods, strict=True))
    ]
    over = f" Mean over {overlap.num_targets} targets." if overlap.num_targets > 1 else ""
    return [Heading("Overlap of the selections", 3), Table(["method", *numbers], rows), Lines([DEFINITION + over])]


def _cell(value: float | None, shown: bool) -> str:
    return "" if not shown else NOTHING if value is None else f"{value:.2f}"
