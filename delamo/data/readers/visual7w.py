"""Visual7W (Zhu et al. 2016), telling questions, as a task.

Format: `dataset_v7w_telling.json` with `images`: each a `filename`, a `split` (train, val, test) and `qa_pairs` of `qa_id`, `question`,
`answer`, `multiple_choices` (three wrong answers) and `type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.json_records import read_lists
from delamo.data.readers.splits import Item, as_task, take
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class Visual7wTaskConfig(TaskConfig):
    """Visual7W, telling questions."""

    annotation: str = MISSING
    image_root: str = MISSING
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


def read_task(config: Visual7wTaskConfig) -> Task:
    """Read the official splits `val` and `test`.

    The order of a question's options is drawn from its id, so that it is the same in every subset.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not this format, or fewer usable questions than asked for.
    """
    path, image_root = Path(config.annotation), ImageRoot(Path(config.image_root), "task.image_root")
    images = read_lists(path, "images", example="dataset_v7w_telling.json of Visual7W")["images"]
    all_bad_rows: list[Quarantined] = []
    parts = {}
    for part, split, count, key in (
        ("validation", "val", config.num_val_samples, "task.num_val_samples"),
        ("test", "test", config.num_test_samples, "task.num_test_samples"),
    ):
        of_split = [image for image in images if isinstance(image, dict) and image.get("split") == split]
        items, bad_rows = _read_split(path, of_split, image_root)
        parts[part] = take(items, count, config.seed, f"{key}, {path}, split {split}", bad_rows)
        all_bad_rows += bad_rows
    return as_task("visual7w", parts, all_bad_rows)


def _read_split(
    path: Path, images: list[dict[str, Any]], image_root: ImageRoot
) -> tuple[dict[str, Item], list[Quarantined]]:
    """Read the usable questions about some images, by id, and the rows that cannot be used."""
    items: dict[str, Item] = {}
    bad_rows: list[Quarantined] = []
    pairs = [(image, pair) for image in images for pair in image.get("qa_pairs") or ()]
    for number, (image, pair) in enumerate(pairs, 1):
        id = f"visual7w-{pair.get('qa_id')}" if isinstance(pair, dict) else None
        try:
            item = _read_pair(image, pair, image_root)
            if item.sample.id in items:
                raise BadRow("duplicate id", "qa_id", pair["qa_id"], "the first one is used")
            items[item.sample.id] = item
        except BadRow as bad:
            bad_rows.append(quarantined(bad, id=id, stage="task", file=path, record=number))
    return items, bad_rows


def _read_pair(image: dict[str, Any], pair: Any, image_root: ImageRoot) -> Item:
    if not isinstance(pair, dict) or pair.get("qa_id") is None:
        raise BadRow("no id", "qa_id", pair)
    question = text_field(pair.get("question"), "question", missing="no text")
    answer = text_field(pair.get("answer"), "answer", missing="no answer")
    wrong = pair.get("multiple_choices")
    if not isinstance(wrong, list) or not wrong:
        raise BadRow("no options", "multiple_choices", wrong, "expected a list of wrong answers")
    texts = [
        answer,
        *(text_field(text, f"multiple_choices[{i}]", missing="empty option") for i, text in enumerate(wrong)),
    ]
    if len({text.casefold() for text in texts}) < len(texts):
        raise BadRow("duplicate options", "multiple_choices", texts)
    options = tuple(Random(f"visual7w/{pair['qa_id']}").sample(texts, len(texts)))
    file = image_root.locate(text_field(image.get("filename"), "filename", missing="image missing"))
    sample = Sample(
        id=f"visual7w-{pair['qa_id']}",
        instruction=question,
        answer=answer,
        options=options,
        gold=options.index(answer),
        image=file.path,
        source=f"visual7w/{pair.get('type') or ''}",
    )
    return Item.of(sample, file)


add_task("visual7w", Visual7wTaskConfig, read_task)
