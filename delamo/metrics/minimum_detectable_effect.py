"""Minimum detectable effect: how small a difference a comparison could have found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from delamo.metrics.statistics import PairedComparison, mean

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumDetectableEffect:
    """The smallest differences that one comparison could have found, as fractions of 1."""

    discordant: float
    """Share of items that one of two runs alone answers correctly, the mean over pairs of runs."""
    alone: float | None
    """Smallest difference found with 80 % power at alpha; None where so few discordant items show no difference."""
    corrected: float | None
    """Smallest difference found with 80 % power at alpha / comparisons, Holm's first step; None as for `alone`."""


def minimum_detectable_effect(
    comparison: PairedComparison, *, alpha: float, num_comparisons: int
) -> MinimumDetectableEffect:
    """Compute the smallest differences that a comparison of single runs like these could have found.

    Args:
        comparison: of two methods.
        alpha: level of the test.
        num_comparisons: that Holm's correction is made for.
    """
    shares = [(pair.only_first + pair.only_second) / comparison.n for row in comparison.pairs for pair in row]
    discordant = mean(shares)
    return MinimumDetectableEffect(
        discordant=discordant,
        alone=detectable_difference(comparison.n, discordant, alpha=alpha),
        corrected=detectable_difference(comparison.n, discordant, alpha=alpha / num_comparisons),
    )


def detectable_difference(n: int, discordant: float, *, alpha: float = 0.05, power: float = POWER) -> float | None:
    """Compute the smallest difference d of two accuracies over `n` items that McNemar's two-sided test finds.

    Solves z(1 - alpha / 2) sqrt(p) + z(power) sqrt(p - d^2) = d sqrt(n) for d, with p the share of discordant items;
    None where d would be above p, which no difference is.

    Args:
        n: test items.
        discordant: share of them that one of two runs alone answers correctly.
        alpha: level of the test.
        power: probability of finding the difference.

    Raises:
        ValueError: no items, or a share outside 0 to 1.

    Source: Miettinen 1968; Connor 1987, equation for the sample size of paired proportions.
    """
    if n < 1 or not 0 <= discordant <= 1:
        raise ValueError(f"{discordant} of {n} items cannot be discordant")
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    inside = n - z_alpha**2 + z_power**2
    if inside < 0:
        return None
    difference = math.sqrt(discordant) * (z_alpha * math.sqrt(n) + z_power * math.sqrt(inside)) / (n + z_power**2)
    return difference if difference <= discordant and discordant > 0 else None
