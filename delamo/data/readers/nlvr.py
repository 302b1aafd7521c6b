"""Cornell NLVR as a task: is a human-written statement about a picture of three boxes true or false?

Format: `ROOT/dev/dev.json` and `ROOT/test/test.json`, JSON lines with `sentence`, `label`, `identifier`, `directory`; the
picture of identifier `n-m` is `ROOT/dev/images/DIRECTORY/dev-n-m-0.png` (each pair has six renderings; the published
subset keeps number 0). The public dev split is the validation set. Source: Suhr et al., ACL 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.json_records import Record, read_records
from delamo.data.readers.splits import Item, as_task, take
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class NlvrTaskConfig(TaskConfig):
    """NLVR: human-written statements about drawn pictures, true or false; `root` holds the folders dev and test."""

    root: str = MISSING
    num_val_samples: int | None = MISSING
    """null takes all."""
    num_test_samples: int | None = MISSING
    seed: int = MISSING
    """Draws the subset."""


OPTIONS = ("true", "false")
QUESTION = "Is this statement about the picture true or false? {statement}"


def read_task(config: NlvrTaskConfig) -> Task:
    """Read the public splits `dev`, for validation, and `test`.

    Raises:
        FileNotFoundError, NotADirectoryError: `root` does not hold the two splits.
        ValueError: a split has no usable statement, or fewer than asked for.
    """
    root = Path(config.root)
    all_bad_rows: list[Quarantined] = []
    parts = {}
    for part, split, count, key in (
        ("validation", "dev", config.num_val_samples, "task.num_val_samples"),
        ("test", "test", config.num_test_samples, "task.num_test_samples"),
    ):
        items, bad_rows = _read_split(root, split)
        parts[part] = take(items, count, config.seed, f"{key}, {root / split}", bad_rows)
        all_bad_rows += bad_rows
    return as_task("nlvr", parts, all_bad_rows)


def _read_split(root: Path, split: str) -> tuple[dict[str, Item], list[Quarantined]]:
    """Read the usable statements of one split, by id, and the records that cannot be used."""
    path = root / split / f"{split}.json"
    if not path.is_file():
        raise FileNotFoundError(f"task.root is {root}: no {split}/{split}.json in it (clone lil-lab/nlvr, folder nlvr)")
    images = ImageRoot(root / split / "images", "task.root's images")
    items: dict[str, Item] = {}
    bad_rows: list[Quarantined] = []
    for record in read_records(path):
        try:
            item = _read_statement(record, split, images)
            if item.sample.id in items:
                raise BadRow("duplicate id", "identifier", item.sample.id, "the first record with it is used")
            items[item.sample.id] = item
        except BadRow as bad:
            name = record.value.get("identifier") if isinstance(record.value, dict) else None
            id = f"{split}-{name}" if isinstance(name, str) else None
            bad_rows.append(quarantined(bad, id=id, stage="task", file=path, record=record.number))
    return items, bad_rows


def _read_statement(record: Record, split: str, images: ImageRoot) -> Item:
    if record.error:
        raise BadRow("not JSON", "line", record.value, record.error)
    if not isinstance(record.value, dict):
        raise BadRow("not a record", "line", record.value)
    value: dict[str, Any] = record.value
    identifier = text_field(value.get("identifier"), "identifier", missing="no id")
    statement = text_field(value.get("sentence"), "sentence", missing="no text")
    label = text_field(value.get("label"), "label", missing="no answer")
    if label not in OPTIONS:
        raise BadRow("gold not among options", "label", label, f"options {list(OPTIONS)}")
    folder = text_field(value.get("directory"), "directory", missing="image missing")
    image = images.locate(f"{folder}/{split}-{identifier}-0.png")
    sample = Sample(
        id=f"{split}-{identifier}",
        instruction=QUESTION.format(statement=statement),
        answer=label,
        options=OPTIONS,
        gold=OPTIONS.index(label),
        image=image.path,
        source="nlvr",
    )
    return Item.of(sample, image)


add_task("nlvr", NlvrTaskConfig, read_task)
