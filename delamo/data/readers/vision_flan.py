"""Vision-Flan (Xu et al. 2024) as a pool, and one of its tasks held out as a target.

Format: LLaVA's JSON with a `task_name` in every record; the full set has 187 tasks and 1,664,261 records, the 191-task set
186,103, and both hold their pictures beside the annotation file. An `id` is not unique in it, so a sample's id here is the
record's own and eight digits of its content's sha256, whatever order the file is in. Names with letters outside ASCII are found
as unzip may have written them (`#U00e9` for `é`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.image_paths import ImageFile, ImageRoot
from delamo.data.quarantine import BadRow, quarantined
from delamo.data.readers.json_records import read_records
from delamo.data.readers.llava_json import (
    LlavaJsonPool,
    as_task_sample,
    existing,
    id_or_none,
    nothing_readable,
    progress,
    read_sample,
)
from delamo.data.readers.splits import Item, as_task, draw_both
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class VisionFlanPoolConfig(PoolConfig):
    """Vision-Flan without the tasks that serve as targets."""

    annotation: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""
    exclude_tasks: list[str | None] = MISSING
    """Names that the records have; null among them is skipped."""


@dataclass(slots=True, kw_only=True)
class VisionFlanTaskConfig(TaskConfig):
    """One task of Vision-Flan, held out of the pool (`pool.exclude_tasks`)."""

    annotation: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""
    task_name: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


logger = logging.getLogger(__name__)


class VisionFlanPool(LlavaJsonPool):
    """All records but those of the held-out tasks, which `held_out` counts by task."""

    def __init__(self, annotation: Path, image_root: Path, exclude_tasks: frozenset[str]) -> None:
        self._exclude_tasks = exclude_tasks
        self.held_out: Counter[str] = Counter()
        super().__init__(annotation, image_root)
        for name, number in sorted(self.held_out.items()):
            logger.info("pool %s: %d records of the held-out task %s are left out", annotation, number, name)

    def _sample(self, value: Any) -> tuple[Sample, ImageFile | None]:
        return _identified(value, self._images)

    def _is_held_out(self, sample: Sample) -> bool:
        self.held_out.update([sample.source] if sample.source in self._exclude_tasks else [])
        return sample.source in self._exclude_tasks


def read_pool(config: VisionFlanPoolConfig) -> VisionFlanPool:
    """Read the pool of an annotation file, without the tasks that serve as targets.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not JSON, or nothing usable.
    """
    path = existing(config.annotation, "pool.annotation")
    root = Path(config.image_root) if config.image_root else path.parent
    return VisionFlanPool(path, root, frozenset(name for name in config.exclude_tasks if name))


def read_task(config: VisionFlanTaskConfig) -> Task:
    """Read one task of the file as a target: disjoint validation and test samples (paper: 1K and 1K).

    A record with the question and the image of an earlier one is quarantined (`repeated`), so that no test sample is
    seen in validation.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: no record of that task, or fewer usable ones than asked for.
    """
    path, task_name = existing(config.annotation, "task.annotation"), config.task_name
    images = ImageRoot(Path(config.image_root) if config.image_root else path.parent, "task.image_root")
    bad_rows: list[Quarantined] = []
    items, names = _read_records_of(path, task_name, images, bad_rows)
    if not items and not bad_rows:
        known = ", ".join(sorted(names)[:8])
        raise ValueError(f"task.task_name is {task_name!r}: {path} has no record of it; it has {known}, ...")
    if not items:
        raise nothing_readable(path, bad_rows)
    key = f"task.num_val_samples + task.num_test_samples, {path}, task {task_name}"
    parts = draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)
    return as_task(f"vision_flan/{task_name}", parts, bad_rows)


def _read_records_of(
    path: Path, task_name: str, images: ImageRoot, bad_rows: list[Quarantined]
) -> tuple[dict[str, Item], set[str]]:
    """Return the usable questions of one task, by id, and all task names that the file holds.

    Unusable records of the task are appended to `bad_rows`.
    """
    items: dict[str, Item] = {}
    names: set[str] = set()
    seen: set[tuple[str, str | None]] = set()
    for record in progress(read_records(path), f"reading {path.name}"):
        name = record.value.get("task_name") if isinstance(record.value, dict) else None
        names.update([name] if isinstance(name, str) else [])
        if name != task_name:
            continue
        try:
            sample, image = _identified(record.value, images)
            sample = as_task_sample(sample)
            if (sample.instruction, sample.image) in seen:
                raise BadRow("repeated", "id", sample.id, "the first record with its question and picture is used")
            seen.add((sample.instruction, sample.image))
            items[sample.id] = Item.of(sample, image)
        except BadRow as bad:
            bad_rows.append(quarantined(bad, id=id_or_none(record), stage="task", file=path, record=record.number))
    return items, names


def _identified(value: Any, images: ImageRoot) -> tuple[Sample, ImageFile | None]:
    """Read a record under an id that its content makes unique."""
    sample, image = read_sample(value, images)
    content = "\0".join((sample.source, sample.instruction, sample.answer, image.name if image else ""))
    digits = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return dataclasses.replace(sample, id=f"{sample.id}#{digits}"), image


add_pool("vision_flan", VisionFlanPoolConfig, read_pool)
add_task("vision_flan", VisionFlanTaskConfig, read_task)
