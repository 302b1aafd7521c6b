"""The checks of a budget: before any work, and after the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Sized
from pathlib import Path

from delamo.data.leakage import CHANCE, removed_ids
from delamo.records import Leak


def require_budget(num_samples: int, pool: Sized) -> None:
    """Raise ValueError unless 1 <= num_samples <= len(pool)."""
    if num_samples < 1:
        raise ValueError(f"budget.num_samples is {num_samples}: choose at least 1")
    if num_samples > len(pool):
        raise ValueError(f"budget.num_samples is {num_samples}, the pool has {len(pool)}: choose at most that")


def require_left(num_samples: int | None, left: int, leaks: Callable[[], Sequence[Leak]], file: Path) -> None:
    """Raise ValueError where the audit left too few samples of the pool.

    Args:
        num_samples: the budget; None for a selector that takes all, which needs one sample.
        left: number of samples that may be selected.
        leaks: gives what the audit found, for the message.
        file: where it is listed.
    """
    if left >= (num_samples or 1):
        return
    removed = leaks()
    wanted = f"budget.num_samples is {num_samples}" if num_samples else "the selector takes all samples"
    kinds = Counter(leak.kind for leak in removed if leak.kind != CHANCE)
    by_kind = ", ".join(f"{count} by {kind}" for kind, count in kinds.most_common())
    raise ValueError(
        f"{wanted}, the pool has {left} since {len(removed_ids(removed))} of its samples overlap the task's "
        f"({by_kind}; see {file}): "
        + (f"choose at most {left}, or audit=none" if left else "choose audit=none")
        + " if they are no copies"
    )
