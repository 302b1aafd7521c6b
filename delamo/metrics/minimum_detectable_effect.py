"""Minimum detectable effect: how small a difference a comparison could have found."""

from __future__ import annotations

from dataclasses import dataclass

from delamo.metrics.comparison import Inference

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumDetectableEffect:
    """The smallest differences that one comparison could have found, as fractions of 1; None: not one up to 1."""

    alone: float | None
    """Found with 80 % power at alpha."""
    corrected: float | None
    """Found with 80 % power at alpha / comparisons, Holm's first step."""


def minimum_detectable_effect(inference: Inference, *, alpha: float, num_comparisons: int) -> MinimumDetectableEffect:
    """Compute the smallest differences that a comparison with runs and items like these could have found.

    Args:
        inference: of two methods: its standard error and degrees of freedom are taken for true.
        alpha: level of the test.
        num_comparisons: that Holm's correction is made for.
    """
    return MinimumDetectableEffect(
        alone=detectable_difference(inference.standard_error, inference.freedom, alpha=alpha),
        corrected=detectable_difference(inference.standard_error, inference.freedom, alpha=alpha / num_comparisons),
    )


def detectable_difference(standard_error: float, freedom: float, *, alpha: float, power: float = POWER) -> float | None:
    """Compute the smallest difference that Student's two-sided test finds; None where it would be above 1.

    Solves P(T > t(1 - alpha / 2)) = power for the centre of the noncentral T; that the test finds the difference with
    the wrong sign is left out.

    Args:
        standard_error: of the difference, as a fraction of 1.
        freedom: its degrees of freedom.
        alpha: level of the test.
        power: probability of finding the difference.

    Raises:
        ValueError: a standard error or degrees of freedom that are not above 0.

    Source: Johnson and Welch 1940 (power of Student's test by the noncentral t).
    """
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    if standard_error <= 0 or freedom <= 0:
        raise ValueError(f"a standard error of {standard_error} with {freedom} degrees of freedom has no power")
    threshold = stdtrit(freedom, 1 - alpha / 2)
    centre, largest = 1.0, 1 / standard_error
    while nctdtr(freedom, centre, threshold) > 1 - power:
        if centre >= largest:
            return None
        centre *= 2
    centre = brentq(lambda centre: nctdtr(freedom, centre, threshold) - (1 - power), 0, centre)
    return float(centre) * standard_error if centre <= largest else None
