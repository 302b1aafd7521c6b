"""The checks of a budget: the one that every selector makes before any work, and the one after the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized
from pathlib import Path

from delamo.records import Leak


def require_budget(num_samples: int, pool: Sized) -> None:
    """Raises ValueError unless 1 <= num_samples <= len(pool)."""
    if num_samples < 1:
        raise ValueError(f"budget.num_samples is {num_samples}: choose at least 1")
    if num_samples > len(pool):
        raise ValueError(f"budget.num_samples is {num_samples}, the pool has {len(pool)}: choose at most that")


def require_left(num_samples: int | None, left: int, leaks: Sequence[Leak], file: Path) -> None:
    """Raises ValueError where the audit left too few samples of the pool.

    Args:
        num_samples: the budget; None for a selector that takes all, which needs one sample.
        left: number of samples that may be selected.
        leaks: what the audit found, for the message.
        file: where it is listed.
    """
    from delamo.data.leakage import CHANCE, removed_ids

    if left >= (num_samples or 1):
        return
    asked = f"budget.num_samples is {num_samples}" if num_samples else "the selector takes all samples"
    kinds = Counter(leak.kind for leak in leaks if leak.kind != CHANCE)
    met = ", ".join(f"{count} by {kind}" for kind, count in kinds.most_common())
    raise ValueError(
        f"{asked}, the pool has {left} since {len(removed_ids(leaks))} of its samples meet the task's ({met}; see {file}): "
        + (f"choose at most {left}, or audit=none" if left else "choose audit=none")
        + " if they are no copies"
    )
