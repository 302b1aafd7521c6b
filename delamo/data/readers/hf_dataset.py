"""Any data set that Hugging Face `datasets` opens, as a pool or a task, by a map of columns.

`path` is a hub id, a folder (Parquet, JSON, CSV, pictures in class folders, or what `save_to_disk` wrote) or one file.
`datasets` makes Arrow files of it once, in its cache; they are mapped into memory here and read row by row. Every row
is checked when it is opened; what cannot be used is quarantined with its row number.

A column is named as in the data set; a dot leads into a struct (`choices.text`). Class labels become their names. As a
pool, options and gold are written into the text as Vision-Flan has them; as a task they stay apart.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING
from tqdm import tqdm

from delamo.config.fields import not_in_identity
from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.arrow_table import SCHEME, read_bytes
from delamo.data.identity import ContentDigest
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import RowError, quarantined
from delamo.data.readers.hf_loading import load
from delamo.data.readers.hf_rows import ColumnsConfig, Rows
from delamo.data.readers.sorted_pool import SortedPool
from delamo.data.readers.splits import Item, as_task, draw_both, take
from delamo.records import Quarantined, Sample


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
    cache_dir: str | None = not_in_identity()
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
    cache_dir: str | None = not_in_identity()
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


class HfDatasetPool(SortedPool):
    """A pool of one split; in memory are ids and row numbers, a text or an image is read when it is asked for."""

    def __init__(self, rows: Rows) -> None:
        """Check every row. Raises ValueError where none can be used."""
        self.name, self._rows = rows.name, rows
        self._source = self.name
        self._quarantined: list[Quarantined] = []
        digest, numbers = ContentDigest(), {}
        for number, item in _usable(rows, rows.example, "pool", self._quarantined):
            numbers[item.sample.id] = number
            digest.add(*item)
        self._ids = sorted(numbers)
        self._row_numbers = array("q", (numbers[id] for id in self._ids))
        self.digest = digest.hexdigest()

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The rows that cannot be used, in their order."""
        return self._quarantined

    def __iter__(self) -> Iterator[Sample]:
        return (self._rows.example(number).sample for number in self._row_numbers)

    def _sample_at(self, index: int) -> Sample:
        return self._rows.example(self._row_numbers[index]).sample


def read_pool(config: HfDatasetPoolConfig) -> HfDatasetPool:
    """Open the pool of one split.

    Raises:
        ValueError: `datasets` is not installed, no such data set, split or column, or no usable row.
    """
    return HfDatasetPool(_open(config, config.split, "pool"))


def read_task(config: HfDatasetTaskConfig) -> Task:
    """Read the task of two splits, or of one from which two disjoint parts are drawn.

    A validation row with the question and the image of a test row is quarantined (`also in test`); one that only has a
    test row's id is not, since ids start anew in each split of many data sets.

    Raises:
        ValueError: `datasets` is not installed, no such data set, split or column, no row left in a part, or more
            samples asked for than there are.
    """
    bad_rows: list[Quarantined] = []
    read = _one_split if config.validation_split == config.test_split else _two_splits
    return as_task(f"hf_dataset/{Path(config.path).stem}", read(config, bad_rows), bad_rows)


def _one_split(config: HfDatasetTaskConfig, bad_rows: list[Quarantined]) -> dict[str, list[Item]]:
    """Draw both parts from one split; rows that cannot be used are appended to `bad_rows`."""
    if config.num_val_samples is None or config.num_test_samples is None:
        raise ValueError(
            f"task.validation_split and task.test_split are both {config.test_split!r}: set task.num_val_samples and "
            "task.num_test_samples, and two disjoint parts are drawn"
        )
    name, items = _read_split(config, config.test_split, bad_rows)
    _set_aside_repeated(items, name, bad_rows)
    key = f"task.num_val_samples + task.num_test_samples, {name}"
    return draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)


def _two_splits(config: HfDatasetTaskConfig, bad_rows: list[Quarantined]) -> dict[str, list[Item]]:
    """Read a part from each split; unusable rows are appended to `bad_rows`, those of the test split first."""
    test_name, test = _read_split(config, config.test_split, bad_rows)
    num_bad = len(bad_rows)
    name, validation = _read_split(config, config.validation_split, bad_rows)
    tested = {_question_of(item) for item in test.values()}
    for id in [id for id, item in validation.items() if _question_of(item) in tested]:
        del validation[id]
        bad_rows.append(_held_back(id, "also in test", name, "same question and picture"))
    val_key, test_key = f"task.num_val_samples, {name}", f"task.num_test_samples, {test_name}"
    return {
        "validation": take(validation, config.num_val_samples, config.seed, val_key, bad_rows[num_bad:]),
        "test": take(test, config.num_test_samples, config.seed, test_key, bad_rows[:num_bad]),
    }


def _read_split(config: HfDatasetTaskConfig, split: str, bad_rows: list[Quarantined]) -> tuple[str, dict[str, Item]]:
    """Return the name of a split, for messages, and its usable questions by id."""
    rows = _open(config, split, "task")
    return rows.name, {item.sample.id: item for _, item in _usable(rows, rows.question, "task", bad_rows)}


def _open(config: HfDatasetPoolConfig | HfDatasetTaskConfig, split: str, key: str) -> Rows:
    """Open a split; `key` is `pool` or `task`."""
    loaded = load(
        config.path,
        subset=config.subset,
        revision=config.revision,
        split=split,
        cache_dir=config.cache_dir,
        key=key,
    )
    if config.image_root:
        roots = [ImageRoot(Path(config.image_root), f"{key}.image_root")]
    else:
        roots = [ImageRoot(folder) for folder in loaded.folders if folder.is_dir()]
    return Rows(loaded, config.columns, config.question, roots, key)


def _usable(
    rows: Rows, read: Callable[[int], Item], stage: str, bad_rows: list[Quarantined]
) -> Iterator[tuple[int, Item]]:
    """Yield the number and the item of every row that can be used; the others are appended to `bad_rows`.

    Raises:
        ValueError: there is none.
    """
    seen: set[str] = set()
    num_bad = len(bad_rows)
    for number in tqdm(range(len(rows)), desc=f"reading {rows.name}", unit=" rows", delay=5, leave=False):
        id = None
        try:
            id = rows.id(number)
            item = read(number)
            if id in seen:
                raise RowError("duplicate id", "id", id, "the first row with it is used")
        except RowError as bad:
            bad_rows.append(quarantined(bad, id=id, stage=stage, file=Path(rows.name), record=number + 1))
            continue
        seen.add(id)
        yield number, item
    if not seen:
        bad_here = bad_rows[num_bad:]
        first = f": {len(bad_here)} quarantined, the first: {bad_here[0].detail}" if bad_here else ""
        raise ValueError(f"{rows.name} holds no usable row{first}")


def _set_aside_repeated(items: dict[str, Item], name: str, bad_rows: list[Quarantined]) -> None:
    """Remove rows with the question and the image of an earlier row, which could end up on both sides of the draw."""
    seen: set[tuple[Any, ...]] = set()
    for id in sorted(items):
        question = _question_of(items[id])
        if question in seen:
            del items[id]
            bad_rows.append(_held_back(id, "repeated", name, "same question and picture as an earlier row"))
        seen.add(question)


def _held_back(id: str, reason: str, name: str, why: str) -> Quarantined:
    return Quarantined(id=id, stage="task", reason=reason, detail=f"{name}: {why}")


def _question_of(item: Item) -> tuple[Any, ...]:
    """Return what makes two rows one question: text, options and the image's bytes."""
    sample = item.sample
    inside = sample.image is not None and sample.image.startswith(SCHEME)
    image = hashlib.sha256(read_bytes(sample.image)).digest() if inside else sample.image
    return sample.instruction, sample.options, image


add_pool("hf_dataset", HfDatasetPoolConfig, read_pool)
add_task("hf_dataset", HfDatasetTaskConfig, read_task)
