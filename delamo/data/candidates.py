"""A pool without the samples that an audit removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from delamo.data import Pool
from delamo.records import Quarantined, Sample


class Candidates:
    """What selectors may choose from: `pool` but for the ids in `removed`, with the same protocol."""

    def __init__(self, pool: Pool, removed: frozenset[str]) -> None:
        self._pool, self.removed = pool, removed
        self.name = pool.name
        self.digest = hashlib.sha256("\0".join([pool.digest, *sorted(removed)]).encode()).hexdigest()
        self._ids = [id for id in pool.ids() if id not in removed]

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The rows that the pool itself holds back."""
        return self._pool.quarantined

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self._pool if sample.id not in self.removed)

    def get(self, id: str) -> Sample:
        """Return one sample. Raises KeyError for a removed id too."""
        if id in self.removed:
            raise KeyError(f"{id!r} overlaps a validation or test sample and was removed from the pool")
        return self._pool.get(id)

    def ids(self) -> Sequence[str]:
        """Return all ids that are left, ascending."""
        return self._ids
