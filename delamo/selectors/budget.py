"""The one check that every selector makes before any work."""

from __future__ import annotations

from collections.abc import Sized


def require_budget(num_samples: int, pool: Sized) -> None:
    """Raises ValueError unless 1 <= num_samples <= len(pool)."""
    if num_samples < 1:
        raise ValueError(f"budget.num_samples is {num_samples}: choose at least 1")
    if num_samples > len(pool):
        raise ValueError(f"budget.num_samples is {num_samples}, the pool has {len(pool)}: choose at most that")
