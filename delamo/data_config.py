"""The schemas of data sets read by a map of columns; see `delamo.config` for the others."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from delamo.config import PoolConfig, TaskConfig, register
from delamo.config_fields import speed


@dataclass(slots=True, kw_only=True)
class ColumnsConfig:
    """Which column holds what; null where none does. A dot leads into a struct; see `delamo.data.hf_rows.Columns`."""

    id: str | None = MISSING
    """null numbers the rows."""
    instruction: str | None = MISSING
    answer: str | None = MISSING
    image: str | None = MISSING
    options: str | None = MISSING
    """A list of texts."""
    option_columns: list[str] = MISSING
    """One column an option, as in [A, B, C, D]."""
    gold: str | None = MISSING
    """An index from 0, a letter, an option's text, or a class label."""
    conversations: str | None = MISSING
    """In place of instruction and answer."""
    source: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class HfDatasetPoolConfig(PoolConfig):
    """A pool that Hugging Face `datasets` opens."""

    path: str = MISSING
    """A hub id, a folder, or a file."""
    subset: str | None = MISSING
    """The data set's configuration, where it has several."""
    revision: str | None = MISSING
    split: str = MISSING
    columns: ColumnsConfig = MISSING
    question: str | None = MISSING
    """Asked of every row, where no column holds the question."""
    image_root: str | None = MISSING
    """Of pictures that a column names; null is the data set's own folder."""
    cache_dir: str | None = speed()
    """Where `datasets` keeps its Arrow files; null is its default."""


@dataclass(slots=True, kw_only=True)
class HfDatasetTaskConfig(TaskConfig):
    """A target that Hugging Face `datasets` opens."""

    path: str = MISSING
    subset: str | None = MISSING
    revision: str | None = MISSING
    validation_split: str = MISSING
    test_split: str = MISSING
    """The same as the other: two disjoint parts of it are drawn."""
    columns: ColumnsConfig = MISSING
    question: str | None = MISSING
    image_root: str | None = MISSING
    cache_dir: str | None = speed()
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


register({"pool/hf_dataset": HfDatasetPoolConfig, "task/hf_dataset": HfDatasetTaskConfig})
