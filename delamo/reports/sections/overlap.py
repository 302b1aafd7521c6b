"""How alike the selections of one budget are, as a table; `delamo.reports.plots` draws the same numbers."""

from __future__ import annotations

from delamo.metrics.overlap import DEFINITION
from delamo.reports.comparison import Budget
from delamo.reports.render.formats import Block, Heading, Lines, Table


def overlap_blocks(budget: Budget) -> list[Block]:
    """The lower triangle of the index, methods against methods; nothing where less than two methods selected."""
    found = budget.overlap
    if found is None:
        return []
    numbers = [str(place) for place in range(1, len(found.methods) + 1)]
    rows = [
        [f"{numbers[row]} {name}", *(_cell(found.values[row][column], column <= row) for column in range(len(numbers)))]
        for row, name in enumerate(found.methods)
    ]
    over = f" Mean over {found.num_targets} targets." if found.num_targets > 1 else ""
    return [Heading("Overlap of the selections", 3), Table(["method", *numbers], rows), Lines([DEFINITION + over])]


def _cell(value: float | None, shown: bool) -> str:
    return "" if not shown else "-" if value is None else f"{value:.2f}"
