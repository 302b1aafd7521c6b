"""Tuning on the target's own validation samples (paper, Table 1, "Validation Data").

What 1,000 samples of the target are worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from delamo.data import Pool
from delamo.data.identity import samples_digest
from delamo.records import Quarantined, Sample
from delamo.selectors.base import Selector, SelectorConfig
from delamo.selectors.full_data import select


@dataclass(slots=True, kw_only=True)
class ValidationDataConfig(SelectorConfig):
    """The target's validation samples instead of any of the pool, whatever the budget."""


class ValidationPool:
    """Validation samples as a pool to be tuned on."""

    quarantined: Sequence[Quarantined] = ()
    removed: frozenset[str] = frozenset()

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.name = "validation"
        self._by_id = {sample.id: sample for sample in sorted(samples, key=lambda sample: sample.id)}
        self.digest = samples_digest(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._by_id.values())

    def get(self, id: str) -> Sample:
        """Return one sample. Raises KeyError for an unknown id."""
        return self._by_id[id]

    def ids(self) -> list[str]:
        """Return all ids, ascending."""
        return list(self._by_id)


def validation_pool(validation: Sequence[Sample], prompt: str) -> Pool:
    """Make a pool of the task's validation samples.

    Args:
        validation: the samples.
        prompt: names the student's template; see `delamo.models.students.training_sample`.
    """
    from delamo.models.students.training_sample import training_sample

    return ValidationPool([training_sample(sample, prompt) for sample in validation])


SELECTOR = Selector(
    name="validation_data", config=ValidationDataConfig, select=select, takes_all=True, own_pool=validation_pool
)
