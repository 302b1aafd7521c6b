"""What the pools share that keep their ids in memory, ascending, and read a sample when it is asked for."""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from delamo.records import Sample


class SortedPool(ABC):
    """Length, ids and lookup of a pool; a reader adds how the sample at an index is read."""

    removed: ClassVar[frozenset[str]] = frozenset()

    _ids: list[str]
    """Ascending."""
    _source: str | Path
    """What a message calls the pool."""

    @abstractmethod
    def _sample_at(self, index: int) -> Sample:
        """Read the sample of `_ids[index]`."""

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> Sequence[str]:
        """Return all usable ids, ascending; no text is read."""
        return self._ids

    def get(self, id: str) -> Sample:
        """Return the sample of that id. Raises KeyError where the pool has none."""
        index = bisect.bisect_left(self._ids, id)
        if index == len(self._ids) or self._ids[index] != id:
            raise KeyError(f"{self._source} has no usable sample with id {id!r}")
        return self._sample_at(index)
