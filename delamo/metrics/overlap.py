"""How much of what selectors chose is the same: Jaccard's index, |A and B| / |A or B|."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How alike what the methods of one budget selected is."""

    methods: list[str]
    values: list[list[float | None]]
    """Square, symmetric, in [0, 1]: see `overlap`; the mean over the targets on which both methods selected, None where
    there is none."""
    num_targets: int


def over_targets(
    targets: Iterable[Mapping[str, Sequence[AbstractSet[str]]]], order: Sequence[str] = ()
) -> Overlap | None:
    """Average `overlap` over targets; None for less than two methods.

    Args:
        targets: for each, a method's name to what its runs selected there.
        order: of the methods, where it is not that of their first appearance.
    """
    import numpy as np

    overlaps = [overlap(selections) for selections in targets if selections]
    present = dict.fromkeys(name for names, _ in overlaps for name in names)
    methods = list(dict.fromkeys([*(name for name in order if name in present), *present]))
    if len(methods) < 2:
        return None
    rows = {name: row for row, name in enumerate(methods)}
    sums, counts = np.zeros((2, len(methods), len(methods)))
    for names, matrix in overlaps:
        where = np.ix_(*[[rows[name] for name in names]] * 2)
        sums[where] += matrix
        counts[where] += 1
    values = [
        [float(total / count) if count else None for total, count in zip(*pair, strict=True)]
        for pair in zip(sums, counts, strict=True)
    ]
    return Overlap(methods=methods, values=values, num_targets=len(overlaps))


def overlap(selections: Mapping[str, Sequence[AbstractSet[str]]]) -> tuple[list[str], np.ndarray]:
    """Compute how alike the selections of several selectors are, by Jaccard's index of the samples.

    Args:
        selections: by selector, the ids that each of its runs selected. Compare runs of one pool, task and budget: two
            random halves of a pool share a third of what they hold together, and unequal sizes cannot reach 1.

    Returns:
        The selectors' names, in their order, and a symmetric matrix (num_selectors, num_selectors) in [0, 1]: the mean
        over all pairs of runs, on the diagonal over pairs of different runs of one selector, 1 where it has one run.

    Raises:
        ValueError: a selector without runs, or a run that selected nothing.
    """
    import numpy as np

    for name, runs in selections.items():
        if not runs or not all(runs):
            raise ValueError(f"{name} has {'a run that selected nothing' if runs else 'no run'}: leave it out")
    names = list(selections)
    matrix = np.eye(len(names))
    for row, column in combinations(range(len(names)), 2):
        pairs = product(selections[names[row]], selections[names[column]])
        matrix[row, column] = matrix[column, row] = np.mean([jaccard(first, second) for first, second in pairs])
    for row, name in enumerate(names):
        indices = [jaccard(first, second) for first, second in combinations(selections[name], 2)]
        matrix[row, row] = np.mean(indices) if indices else 1.0
    return names, matrix


def jaccard(first: AbstractSet[str], second: AbstractSet[str]) -> float:
    """Compute |first and second| / |first or second|. Raises ZeroDivisionError where both are empty."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)
