"""Which samples go into which batch: fixed by the seed, grouped by length, resumable in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

GROUP = 16  # batches that are sorted by length together: little padding, much of the shuffle kept


def plan_batches(lengths: Sequence[int], *, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """Indices of every batch of all epochs in order; each epoch holds every index exactly once."""
    batches: list[list[int]] = []
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order), batch_size * GROUP):
            group = sorted(order[start : start + batch_size * GROUP], key=lambda i: (-lengths[i], i))
            chunks = [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
            batches += [chunks[i] for i in rng.permutation(len(chunks))]
    return batches


def share(batches: list[list[int]], rank: int, size: int) -> list[list[int]]:
    """Every `size`-th batch from the `rank`-th on; where these run out, the last one again, which then counts for nothing.

    So all processes have as many batches, and step k of all together holds the batches of step k of one process.
    """
    missing = -len(batches) % size
    return [*batches, *batches[-1:] * missing][rank::size]


def padding_share(batches: list[list[int]], lengths: Sequence[int]) -> float:
    """Part of all tokens that is padding: 0 to 1."""
    whole = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / whole


class ResumableLoader(DataLoader):
    """A DataLoader over planned batches that goes on after the last batch it gave out.

    Lightning saves and restores a loader that has `state_dict`; without one a resumed epoch starts over with the first batch
    (Lightning issue 19764).
    """

    def __init__(self, samples: Sequence[Any], batches: list[list[int]], plan: str, **options: Any) -> None:
        super().__init__(samples, batch_sampler=batches, **options)
        self._plan = plan
        self._given = 0

    def __iter__(self) -> Iterator[Any]:
        rest = DataLoader(
            self.dataset,
            batch_sampler=list(self.batch_sampler)[self._given :],
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
        )
        for batch in rest:
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The cursor, and the plan that it counts in."""
        return {"plan": self._plan, "given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after `given` batches.

        Raises:
            ValueError: the checkpoint was made with other samples, another seed or another batch size.
        """
        if state["plan"] != self._plan:
            raise ValueError(
                "the checkpoint counts batches of another selection, seed, batch size or number of processes: "
                "use tuning.resume=never"
            )
        self._given = state["given"]
