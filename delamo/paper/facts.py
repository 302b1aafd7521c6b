"""What the paper's tables say of costs: for estimates of grids that were not run.

Each number stands in the table that the paper prints it in (`table1.yaml`, ...), and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from delamo.metrics.statistics import mean
from delamo.paper.numbers import PAPER, paper_table
from delamo.reports.methods import PRETRAINED

NUM_GPUS = 8  # A100 of 40 GB: paper, appendix H
TUNING_COLUMN = "Fine-tuning (s)"


@lru_cache(maxsize=1)
def measured_seconds() -> dict[int, float]:
    """Return samples -> seconds of one epoch of tuning (Table 6), the mean where the paper gives several."""
    table = paper_table("table6")
    index = [column.name for column in table.columns].index(TUNING_COLUMN)
    taken: dict[int, list[float]] = {}
    for row in table.rows:
        if row.values[index] is not None:
            taken.setdefault(_count(row.labels[-1]), []).append(row.values[index])
    return {samples: mean(seconds) for samples, seconds in sorted(taken.items())}


def tuning_seconds(num_samples: float, measured: Mapping[int, float]) -> float:
    """Estimate the seconds of a tuning from measured ones.

    Between two measured points they lie on the line through them; below the first and above the last, in proportion to
    it.

    Args:
        num_samples: that are gone through, over all epochs.
        measured: samples -> seconds.
    """
    points = sorted(measured.items())
    if num_samples <= points[0][0]:
        return num_samples * points[0][1] / points[0][0]
    for (n, seconds), (more, longer) in pairwise(points):
        if num_samples <= more:
            return seconds + (num_samples - n) * (longer - seconds) / (more - n)
    return num_samples * points[-1][1] / points[-1][0]


def error_rates() -> dict[str, float]:
    """Return target -> share of the test items that the untuned student does not answer correctly (Table 1)."""
    table = paper_table("table1")
    index = next(index for index, row in enumerate(table.rows) if row.cell.get("selector") == PRETRAINED)
    cells = [table.choices(index, column, PAPER) or {} for column in range(len(table.columns))]
    return {
        cell["task"]: round(1 - accuracy / 100, 4)
        for cell, accuracy in zip(cells, table.rows[index].values, strict=True)
    }


def steps() -> dict[str, float]:
    """Return target -> reasoning steps of a rationale on average (Table 12)."""
    table = paper_table("table12")
    cells = [table.choices(row, 0, PAPER) or {} for row in range(len(table.rows))]
    return {cell["task"]: row.values[0] for cell, row in zip(cells, table.rows, strict=True)}


FACTS: dict[str, Callable[[], Mapping[Any, float]]] = {
    "tuning_seconds": measured_seconds,
    "error_rates": error_rates,
    "steps": steps,
    "num_gpus": lambda: {"tuning": NUM_GPUS},
}
"""Facts by name, for `conf/plan.yaml`, which takes each by a key of its own: `${of_paper:NAME,KEY}`."""


def _count(label: str) -> int:
    """Read a number of samples as the paper writes it: `1,552K`."""
    return int(label.replace(",", "").removesuffix("K")) * 1000
