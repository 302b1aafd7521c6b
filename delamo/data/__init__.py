"""Data a cell works on: the pool that training samples are chosen from, and the task that they are chosen for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from delamo.config.data import (
    CaltechTaskConfig,
    CaptionMatchTaskConfig,
    CocoTaskConfig,
    HfDatasetPoolConfig,
    HfDatasetTaskConfig,
    LlavaJsonPoolConfig,
    LlavaJsonTaskConfig,
    MicroPoolConfig,
    MicroTaskConfig,
    MmBenchTaskConfig,
    NlvrTaskConfig,
    ParquetPoolConfig,
    PoolConfig,
    ScienceQaTaskConfig,
    TaskConfig,
    VisionFlanPoolConfig,
    VisionFlanTaskConfig,
    Visual7wTaskConfig,
)
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


def _micro_pool(**fields: Any) -> Pool:
    from delamo.data.readers.micro import read_pool

    return read_pool(**fields)


def _llava_json_pool(**fields: Any) -> Pool:
    from delamo.data.readers.llava_json import read_pool

    return read_pool(**fields)


def _vision_flan_pool(**fields: Any) -> Pool:
    from delamo.data.readers.vision_flan import read_pool

    return read_pool(**fields)


def _parquet_pool(**fields: Any) -> Pool:
    from delamo.data.readers.parquet import read_pool

    return read_pool(**fields)


def _hf_dataset_pool(columns: Any, **fields: Any) -> Pool:
    from delamo.data.readers.hf_dataset import read_pool
    from delamo.data.readers.hf_rows import Columns

    return read_pool(columns=Columns(**dataclasses.asdict(columns)), **fields)


def _hf_dataset_task(columns: Any, **fields: Any) -> Task:
    from delamo.data.readers.hf_dataset import read_task
    from delamo.data.readers.hf_rows import Columns

    return read_task(columns=Columns(**dataclasses.asdict(columns)), **fields)


def _vision_flan_task(**fields: Any) -> Task:
    from delamo.data.readers.vision_flan import read_task

    return read_task(**fields)


def _scienceqa_task(**fields: Any) -> Task:
    from delamo.data.readers.scienceqa import read_task

    return read_task(**fields)


def _mmbench_task(**fields: Any) -> Task:
    from delamo.data.readers.mmbench import read_task

    return read_task(**fields)


def _coco_task(**fields: Any) -> Task:
    from delamo.data.readers.coco_classification import read_task

    return read_task(**fields)


def _caltech_task(**fields: Any) -> Task:
    from delamo.data.readers.caltech101_living import read_task

    return read_task(**fields)


def _visual7w_task(**fields: Any) -> Task:
    from delamo.data.readers.visual7w import read_task

    return read_task(**fields)


def _caption_match_task(**fields: Any) -> Task:
    from delamo.data.readers.coco_caption_match import read_task

    return read_task(**fields)


def _micro_task(**fields: Any) -> Task:
    from delamo.data.readers.micro import read_task

    return read_task(**fields)


def _llava_json_task(**fields: Any) -> Task:
    from delamo.data.readers.llava_json import read_task

    return read_task(**fields)


def _nlvr_task(**fields: Any) -> Task:
    from delamo.data.readers.nlvr import read_task

    return read_task(**fields)


POOLS: dict[type[PoolConfig], Callable[..., Pool]] = {
    MicroPoolConfig: _micro_pool,
    LlavaJsonPoolConfig: _llava_json_pool,
    VisionFlanPoolConfig: _vision_flan_pool,
    ParquetPoolConfig: _parquet_pool,
    HfDatasetPoolConfig: _hf_dataset_pool,
}
"""Readers by schema, called with the schema's fields; a reader is imported when it is called."""

TASKS: dict[type[TaskConfig], Callable[..., Task]] = {
    MicroTaskConfig: _micro_task,
    LlavaJsonTaskConfig: _llava_json_task,
    NlvrTaskConfig: _nlvr_task,
    VisionFlanTaskConfig: _vision_flan_task,
    ScienceQaTaskConfig: _scienceqa_task,
    MmBenchTaskConfig: _mmbench_task,
    CocoTaskConfig: _coco_task,
    CaltechTaskConfig: _caltech_task,
    Visual7wTaskConfig: _visual7w_task,
    CaptionMatchTaskConfig: _caption_match_task,
    HfDatasetTaskConfig: _hf_dataset_task,
}
"""Likewise for tasks."""
