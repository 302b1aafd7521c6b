"""The plan of batches: fixed by the seed, grouped by length, resumable in mid-epoch.

An optimizer step belongs to one batch of `tuning.batch_size` samples, which is planned first and then cut into
micro-batches: how it is cut decides how much memory a forward pass takes, not what is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from delamo.tuning.config import LossAverage

GROUP_SIZE = 16  # batches that are sorted by length together: little padding, much of the shuffle kept


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Samples of one forward and backward pass."""

    samples: tuple[int, ...]
    """Indices of samples."""
    weights: tuple[float, ...]
    """For each sample, what the summed loss of its reply tokens is multiplied by in the loss of the optimizer step."""


def plan_batches(lengths: Sequence[int], *, batch_size: int, epochs: int, seed: int) -> list[list[int]]:
    """Plan the batches of all epochs, in order, as indices of samples; each epoch holds every index exactly once.

    A batch is what one optimizer step learns from; the last one of an epoch's shuffle may be smaller.
    """
    batches: list[list[int]] = []
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order), batch_size * GROUP_SIZE):
            group = sorted(order[start : start + batch_size * GROUP_SIZE], key=lambda i: (-lengths[i], i))
            chunks = [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
            batches += [chunks[i] for i in rng.permutation(len(chunks))]
    return batches


def plan_micro_batches(
    batches: Sequence[Sequence[int]], reply_tokens: Sequence[int], *, accumulation: int, average: LossAverage
) -> list[MicroBatch]:
    """Cut every batch into as many micro-batches, in order.

    The weights make the losses of a batch's micro-batches add up to one number, however it is cut: the mean over all
    its reply tokens, or over its samples' own means.

    Args:
        batches: indices of samples.
        reply_tokens: of each sample.
        accumulation: micro-batches per batch. A batch of fewer samples repeats its last one with a weight of 0.
        average: what the loss of a batch is the mean of.

    Returns:
        len(batches) * accumulation micro-batches.
    """
    plan: list[MicroBatch] = []
    for batch in batches:
        if average is LossAverage.tokens:
            weight = dict.fromkeys(batch, 1 / sum(reply_tokens[i] for i in batch))
        else:
            weight = {i: 1 / (len(batch) * reply_tokens[i]) for i in batch}
        for part in np.array_split(np.asarray(batch), accumulation):
            rows = tuple(part.tolist())
            plan.append(MicroBatch(rows, tuple(weight[i] for i in rows)) if rows else MicroBatch((batch[-1],), (0.0,)))
    return plan


def padding_fraction(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
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
