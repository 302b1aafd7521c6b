"""How small a difference a comparison could have found: what a table without a finding leaves open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from delamo.metrics.statistics import Comparison, mean

POWER = 0.8
DEFINITION = (
    "Detectable difference: the smallest true difference in accuracy that McNemar's two-sided test of one run against one run of "
    "{reference} finds with 80 % power, for this n and this share of discordant items (right in one of the two runs, mean over pairs of "
    "runs); normal approximation (Miettinen 1968). First at alpha 0.05; in brackets at 0.05 divided by the comparisons of the table, which "
    "Holm asks of the smallest p. '-': more than the discordant items can show."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """What one comparison could have found; shares are fractions of 1."""

    discordant: float
    """Share of items that one of two runs alone answers correctly, the mean over pairs of runs."""
    alone: float | None
    """Smallest difference found with 80 % power at alpha; None where no difference of so few discordant items is."""
    corrected: float | None
    """Likewise at alpha / comparisons, Holm's first step."""


def detectable(found: Comparison, *, alpha: float, num_comparisons: int) -> Detectable:
    """The differences that a comparison of single runs like these could have found."""
    discordant = mean([(pair.only_first + pair.only_second) / found.n for row in found.pairs for pair in row])
    return Detectable(
        discordant=discordant,
        alone=detectable_difference(found.n, discordant, alpha=alpha),
        corrected=detectable_difference(found.n, discordant, alpha=alpha / num_comparisons),
    )


def detectable_difference(n: int, discordant: float, *, alpha: float = 0.05, power: float = POWER) -> float | None:
    """The smallest difference d of two accuracies over `n` items that McNemar's two-sided test finds with this power.

    Solves z(1 - alpha / 2) sqrt(p) + z(power) sqrt(p - d^2) = d sqrt(n) for d, with p the share of discordant items; None where
    d would be above p, which no difference is.

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
    found = math.sqrt(discordant) * (z_alpha * math.sqrt(n) + z_power * math.sqrt(inside)) / (n + z_power**2)
    return found if found <= discordant and discordant > 0 else None
