"""Variance components of a run's accuracy: the selection's seed, the training's seed, the draw of the test items."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delamo.metrics.statistics import Outcomes, common_items, mean

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceSplit:
    """Standard deviations of a run's accuracy, as fractions of 1, by source. None: these runs do not tell."""

    num_runs: int
    num_selections: int
    """Different sets of samples that the runs were tuned on."""
    test_items: float
    selection: float | None
    """None where all runs have one selection, or each one of its own."""
    training: float | None
    """None where no selection was tuned on twice."""
    both: float | None
    """Of selection and training together; None for a single run."""


def split(runs: Sequence[Outcomes], selections: Sequence[Hashable]) -> VarianceSplit:
    """Split the variance of a method's runs on one target.

    Model: correct = mean + item + selection + training within selection + rest, all random. The rest, runs that turn
    different items, is taken out of the seeds' part with its mean square over the number of items.

    Args:
        runs: of one method, over the same items.
        selections: for each run what it was tuned on; equal for runs that were tuned on the same samples.

    Raises:
        ValueError: no run, or no item in common.

    Source: Searle, Casella and McCulloch 1992, chapter 3 (unbalanced nested analysis of variance).
    """
    import numpy as np

    common = common_items(runs)
    outcomes_RI = np.array([[run[id] for id in common] for run in runs], dtype=float)  # noqa: N806 -- R runs, I items
    num_runs, n = outcomes_RI.shape
    means = outcomes_RI.mean(axis=1)
    test_items = math.sqrt(mean([p * (1 - p) / max(n - 1, 1) for p in means.tolist()]))
    groups = [means[[key == other for other in selections]] for key in dict.fromkeys(selections)]
    noise = interaction(outcomes_RI) / n
    return VarianceSplit(
        num_runs=num_runs,
        num_selections=len(groups),
        test_items=test_items,
        selection=_between(groups),
        training=_root(_within(groups) - noise) if len(groups) < num_runs else None,
        both=_root(float(means.var(ddof=1)) - noise) if num_runs > 1 else None,
    )


def interaction(outcomes_RI: np.ndarray) -> float:  # noqa: N803 -- shape letters
    """Compute the mean square of what neither the run nor the item explains; R runs, I items, 0 for one of either."""
    num_runs, n = outcomes_RI.shape
    if num_runs < 2 or n < 2:
        return 0.0
    rest = outcomes_RI - outcomes_RI.mean(axis=1, keepdims=True) - outcomes_RI.mean(axis=0) + outcomes_RI.mean()
    return float((rest**2).sum() / ((num_runs - 1) * (n - 1)))


def _within(groups: Sequence[np.ndarray]) -> float:
    """Compute the mean square of runs about their selection's mean."""
    freedom = sum(len(group) - 1 for group in groups)
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / freedom


def _between(groups: Sequence[np.ndarray]) -> float | None:
    """Compute the standard deviation of selections; None without two of them, one tuned on twice."""
    sizes = [len(group) for group in groups]
    total = sum(sizes)
    if len(groups) < 2 or total == len(groups):
        return None
    centre = sum(float(group.sum()) for group in groups) / total
    square = sum(len(group) * (float(group.mean()) - centre) ** 2 for group in groups) / (len(groups) - 1)
    typical = (total - sum(size**2 for size in sizes) / total) / (len(groups) - 1)
    return _root((square - _within(groups)) / typical)


def _root(variance: float) -> float:
    return math.sqrt(max(0.0, variance))
