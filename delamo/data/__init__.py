"""The data of an experiment: the pool that training samples are chosen from, and the task that they are chosen for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from delamo.config.fields import not_in_identity
from delamo.config.registry import register
from delamo.records import Quarantined, Sample


@runtime_checkable
class Pool(Protocol):
    """Training samples to choose from, perhaps more than fit in memory."""

    name: str
    digest: str
    """Identity of the content: the same data in another folder or another order has the same digest."""

    removed: frozenset[str]
    """Ids that an audit removed; empty for all pools but `delamo.data.candidates.Candidates`."""

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """Rows of the source that cannot be used; `len(pool) + len(pool.quarantined)` rows were read."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples in ascending order of id, made one at a time."""

    def get(self, id: str) -> Sample:
        """Return one sample. Raises KeyError for an id that the pool does not have."""

    def ids(self) -> Sequence[str]:
        """Return all ids, ascending, without making a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A target: validation samples, which steer the selection, and test samples, which the evaluation alone sees."""

    name: str
    validation: Sequence[Sample]
    test: Sequence[Sample]
    digest: str
    """Identity of the content: the chosen subset and the rows held back."""
    quarantined: Sequence[Quarantined] = ()
    circular: bool = False
    """Whether every test item is asked in each rotation of its options."""


@dataclass(slots=True, kw_only=True)
class TaskConfig:
    """The target: the questions that the student should get better at."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class PoolConfig:
    """Where training samples are chosen from."""

    name: str = not_in_identity()


TASKS: dict[type[TaskConfig], Callable[[Any], Task]] = {}
"""The reader of every task, by the type of its config; `delamo.data.readers` fills it."""
POOLS: dict[type[PoolConfig], Callable[[Any], Pool]] = {}
"""The reader of every pool, by the type of its config; `delamo.data.readers` fills it."""


def add_task(name: str, schema: type[TaskConfig], read: Callable[[Any], Task]) -> None:
    """Declare a format that a task is read from: `schema/task/NAME`, and the function that takes such a config."""
    TASKS[schema] = read
    register({f"task/{name}": schema})


def add_pool(name: str, schema: type[PoolConfig], read: Callable[[Any], Pool]) -> None:
    """Declare a format that a pool is read from: `schema/pool/NAME`, and the function that takes such a config."""
    POOLS[schema] = read
    register({f"pool/{name}": schema})


def read_task(config: TaskConfig) -> Task:
    """Read the task, by the reader of its config's type."""
    return TASKS[type(config)](config)


def read_pool(config: PoolConfig) -> Pool:
    """Read the pool, by the reader of its config's type."""
    return POOLS[type(config)](config)
