"""The plan of batches: fixed by the seed, grouped by length, resumable in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

GROUP_SIZE = 16  # batches that are sorted by length together: little padding, much of the shuffle kept


def plan_batches(lengths: Sequence[int], *, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """Plan the batches of all epochs, in order, as indices of samples; each epoch holds every index exactly once."""
    batches: list[list[int]] = []
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order), batch_size * GROUP_SIZE):
            group = sorted(order[start : start + batch_size * GROUP_SIZE], key=lambda i: (-lengths[i], i))
            chunks = [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
            batches += [chunks[i] for i in rng.permutation(len(chunks))]
    return batches


def batches_of_rank(batches: list[list[int]], rank: int, world_size: int) -> list[list[int]]:
    """Return every `world_size`-th batch from number `rank` on.

    All processes get as many, and step k of all together holds the batches of step k of one process: where the plan
    runs out, its last batch is repeated, and its loss there does not count.
    """
    missing = -len(batches) % world_size
    return [*batches, *batches[-1:] * missing][rank::world_size]


def padding_fraction(batches: list[list[int]], lengths: Sequence[int]) -> float:
    """Return the fraction of all tokens that is padding: 0 to 1."""
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / padded


class ResumableLoader(DataLoader):
    """DataLoader over planned batches that resumes after the last batch it yielded.

    Lightning saves and restores a loader that has `state_dict`; without one a resumed epoch starts over with the first
    batch (Lightning issue 19764). torchdata's StatefulDataLoader takes no checkpoint of another number of workers, and
    one of another plan without a word.
    """

    def __init__(self, samples: Sequence[Any], batches: list[list[int]], plan: str, **options: Any) -> None:
        """Make a loader at the plan's first batch.

        Args:
            samples: the dataset.
            batches: indices of the samples of each batch.
            plan: digest of the plan, kept in checkpoints.
            **options: of DataLoader.
        """
        super().__init__(samples, batch_sampler=batches, **options)
        self._plan = plan
        self._num_yielded = 0

    def __iter__(self) -> Iterator[Any]:
        rest = DataLoader(
            self.dataset,
            batch_sampler=list(self.batch_sampler)[self._num_yielded :],
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
        )
        for batch in rest:
            self._num_yielded += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the plan's digest and the number of its batches that were yielded."""
        return {"plan": self._plan, "given": self._num_yielded}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the batches that a checkpoint counts.

        Raises:
            ValueError: the checkpoint was made with other samples, another seed or another batch size.
        """
        if state["plan"] != self._plan:
            raise ValueError(
                "the checkpoint counts batches of another selection, seed, batch size or number of processes: "
                "use tuning.resume=never"
            )
        self._num_yielded = state["given"]
