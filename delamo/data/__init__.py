"""Data a cell works on: the pool that training samples are chosen from, and the task that they are chosen for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from delamo.config.compose import arguments
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
    """Ids that an audit removed; empty but for `Candidates`."""

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """Rows of the source that cannot be used; `len(pool) + len(pool.quarantined)` rows were read."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]:
        """All samples in ascending id order, made one at a time."""

    def get(self, id: str) -> Sample:
        """One sample. Raises KeyError for an id that the pool does not have."""

    def ids(self) -> Sequence[str]:
        """All ids, ascending, without making a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A target: validation samples, which steer the selection, and test samples, which nothing but the evaluation sees."""

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


TASKS: dict[type[TaskConfig], Callable[..., Task]] = {}
"""The reader of every task, by the type of its config; it takes the config's fields as keyword arguments."""
POOLS: dict[type[PoolConfig], Callable[..., Pool]] = {}
"""The reader of every pool, by the type of its config; it takes the config's fields as keyword arguments."""


def add_task(name: str, schema: type[TaskConfig], read: Callable[..., Task]) -> None:
    """Declare a format that a task is read from: `schema/task/NAME`, and the function that takes the schema's fields."""
    TASKS[schema] = read
    register({f"task/{name}": schema})


def add_pool(name: str, schema: type[PoolConfig], read: Callable[..., Pool]) -> None:
    """Declare a format that a pool is read from: `schema/pool/NAME`, and the function that takes the schema's fields."""
    POOLS[schema] = read
    register({f"pool/{name}": schema})


def read_task(config: TaskConfig) -> Task:
    """Read the task, by the reader of its config's type."""
    return TASKS[type(config)](**arguments(config))


def read_pool(config: PoolConfig) -> Pool:
    """Read the pool, by the reader of its config's type."""
    return POOLS[type(config)](**arguments(config))
