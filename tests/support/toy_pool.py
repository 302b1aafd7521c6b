"""A pool in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from delamo.records import Sample


@dataclass
class ToyPool:
    """The part of a pool that selectors use; ids ascend, whatever order the samples came in."""

    samples: list[Sample]
    name: str = "toy"
    digest: str = "toy"
    quarantined: tuple = ()
    removed: frozenset[str] = frozenset()
    _by_id: dict[str, Sample] = field(init=False)

    def __post_init__(self) -> None:
        self._by_id = {sample.id: sample for sample in sorted(self.samples, key=lambda sample: sample.id)}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self):
        return iter(self._by_id.values())

    def get(self, id: str) -> Sample:
        return self._by_id[id]

    def ids(self) -> list[str]:
        return list(self._by_id)
