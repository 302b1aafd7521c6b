"""Any data set that Hugging Face `datasets` opens, as a pool or a task, by a map of columns.

`path` is a hub id, a folder (Parquet, JSON, CSV, pictures in class folders, or what `save_to_disk` wrote) or one file. `datasets`
makes Arrow files of it once, in its cache; they are mapped into memory here and read row by row. Every row is checked when it is opened; what
cannot be used is quarantined with its row number.

A column is named as in the data set; a dot leads into a struct (`choices.text`). Class labels become their names. As a pool,
options and gold are written into the text as Vision-Flan has them; as a task they stay apart.
"""

from __future__ import annotations

import bisect
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING
from tqdm import tqdm

from delamo.config.fields import not_in_identity
from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.arrow_table import SCHEME, read_bytes
from delamo.data.identity import ContentDigest
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined
from delamo.data.readers.hf_loading import Loaded, load
from delamo.data.readers.hf_rows import ColumnsConfig, Rows
from delamo.data.readers.splits import Pictured, as_task, draw_both
from delamo.data.readers.subsets import take
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


class HfDatasetPool:
    """In memory: ids and row numbers; a text or a picture is read when it is asked for."""

    removed: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, rows: Rows) -> None:
        """Check every row. Raises ValueError where none can be used."""
        self.name, self._rows = rows.name, rows
        self._quarantined: list[Quarantined] = []
        digest, found = ContentDigest(), {}
        for row, (sample, name, size) in _usable(rows, rows.example, "pool", self._quarantined):
            found[sample.id] = row
            digest.add(sample, image_name=name, image_size=size)
        self._ids = sorted(found)
        self._places = array("q", (found[id] for id in self._ids))
        self.digest = digest.hexdigest()

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The rows that cannot be used, in their order."""
        return self._quarantined

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self._rows.example(row)[0] for row in self._places)

    def ids(self) -> Sequence[str]:
        """All usable ids, ascending; no text is read."""
        return self._ids

    def get(self, id: str) -> Sample:
        """The sample of that id. Raises KeyError where the pool has none."""
        index = bisect.bisect_left(self._ids, id)
        if index == len(self._ids) or self._ids[index] != id:
            raise KeyError(f"{self.name} has no usable row with id {id!r}")
        return self._rows.example(self._places[index])[0]


def read_pool(
    *,
    path: str,
    subset: str | None = None,
    revision: str | None = None,
    split: str = "train",
    columns: ColumnsConfig,
    question: str | None = None,
    image_root: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> HfDatasetPool:
    """The pool of one split.

    Args:
        subset: the data set's configuration, where it has several.
        question: asked of every row where no column holds the question.
        image_root: folder of pictures that a column names; None is the data set's own.
        cache_dir: of `datasets`; None is its default.

    Raises:
        ValueError: `datasets` is not installed, no such data set, split or column, or no usable row.
    """
    loaded = load(path, subset=subset, revision=revision, split=split, cache_dir=cache_dir, key="pool")
    return HfDatasetPool(Rows(loaded, columns, question, _roots(loaded, image_root, "pool"), "pool"))


def read_task(
    *,
    path: str,
    subset: str | None = None,
    revision: str | None = None,
    validation_split: str = "validation",
    test_split: str = "test",
    columns: ColumnsConfig,
    question: str | None = None,
    image_root: str | Path | None = None,
    cache_dir: str | Path | None = None,
    num_val_samples: int | None = None,
    num_test_samples: int | None = None,
    seed: int = 0,
) -> Task:
    """The task of two splits, or of one from which two disjoint parts are drawn.

    A validation row with the question and the picture of a test row is quarantined (`also in test`); one that only has a test
    row's id is not, since ids start anew in each split of many data sets.

    Raises:
        ValueError: as for a pool, no row left in a part, or more samples asked for than there are.
    """
    bad: list[Quarantined] = []

    def read(split: str) -> tuple[Rows, dict[str, Pictured]]:
        loaded = load(path, subset=subset, revision=revision, split=split, cache_dir=cache_dir, key="task")
        rows = Rows(loaded, columns, question, _roots(loaded, image_root, "task"), "task")
        return rows, {sample.id: (sample, *rest) for _, (sample, *rest) in _usable(rows, rows.question, "task", bad)}

    rows, test = read(test_split)
    if validation_split == test_split:
        if num_val_samples is None or num_test_samples is None:
            raise ValueError(
                f"task.validation_split and task.test_split are both {test_split!r}: set task.num_val_samples and "
                "task.num_test_samples, and two disjoint parts are drawn"
            )
        _set_aside_repeated(test, rows.name, bad)
        key = f"task.num_val_samples + task.num_test_samples, {rows.name}"
        parts = draw_both(test, num_val_samples, num_test_samples, seed, key, bad)
    else:
        of_test = len(bad)
        other, validation = read(validation_split)
        tested = {_asked(row) for row in test.values()}
        for id in [id for id, row in validation.items() if _asked(row) in tested]:
            del validation[id]
            bad.append(_held_back(id, "also in test", other.name, "same question and picture"))
        parts = {
            "validation": take(validation, num_val_samples, seed, f"task.num_val_samples, {other.name}", bad[of_test:]),
            "test": take(test, num_test_samples, seed, f"task.num_test_samples, {rows.name}", bad[:of_test]),
        }
    return as_task(f"hf_dataset/{Path(path).stem}", parts, bad)


def _usable(rows: Rows, read: Any, stage: str, bad: list[Quarantined]) -> Iterator[tuple[int, Pictured]]:
    """(row number, what was read) of every row that can be used; the others are appended to `bad`.

    Raises:
        ValueError: there is none.
    """
    seen: set[str] = set()
    before = len(bad)
    for row in tqdm(range(len(rows)), desc=f"reading {rows.name}", unit=" rows", delay=5, leave=False):
        id = None
        try:
            id = rows.id(row)
            found = read(row)
            if id in seen:
                raise BadRow("duplicate id", "id", id, "the first row with it is used")
        except BadRow as problem:
            bad.append(quarantined(problem, id=id, stage=stage, file=Path(rows.name), record=row + 1))
            continue
        seen.add(id)
        yield row, found
    if not seen:
        first = f": {len(bad) - before} quarantined, the first: {bad[before].detail}" if bad[before:] else ""
        raise ValueError(f"{rows.name} holds no usable row{first}")


def _set_aside_repeated(found: dict[str, Pictured], name: str, bad: list[Quarantined]) -> None:
    """Rows with the question and the picture of an earlier one, which could end up on both sides of the draw."""
    seen: set[tuple[Any, ...]] = set()
    for id in sorted(found):
        asked = _asked(found[id])
        if asked in seen:
            del found[id]
            bad.append(_held_back(id, "repeated", name, "same question and picture as an earlier row"))
        seen.add(asked)


def _held_back(id: str, reason: str, name: str, why: str) -> Quarantined:
    return Quarantined(id=id, stage="task", reason=reason, detail=f"{name}: {why}")


def _asked(row: Pictured) -> tuple[Any, ...]:
    """What makes two rows one question: text, options and the picture's bytes."""
    sample = row[0]
    inside = sample.image is not None and sample.image.startswith(SCHEME)
    picture = hashlib.sha256(read_bytes(sample.image)).digest() if inside else sample.image
    return sample.instruction, sample.options, picture


def _roots(loaded: Loaded, image_root: str | Path | None, key: str) -> list[ImageRoot]:
    """The folders that a named picture must lie in."""
    if image_root:
        return [ImageRoot(Path(image_root), f"{key}.image_root")]
    return [ImageRoot(folder) for folder in loaded.folders if folder.is_dir()]


add_pool("hf_dataset", HfDatasetPoolConfig, read_pool)
add_task("hf_dataset", HfDatasetTaskConfig, read_task)
