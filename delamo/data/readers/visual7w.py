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
from delamo.data.readers.json_lists import read_lists
from delamo.data.readers.splits import Pictured, as_task
from delamo.data.readers.subsets import take
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class Visual7wTaskConfig(TaskConfig):
    """Visual7W, telling questions."""

    annotation: str = MISSING
    image_root: str = MISSING
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


def read_task(
    *,
    annotation: str | Path,
    image_root: str | Path,
    num_val_samples: int | None,
    num_test_samples: int | None,
    seed: int = 0,
) -> Task:
    """The official `val` and `test` splits; a subset of each is drawn from `seed`, None takes all.

    The order of a question's options is drawn from its id, so that it is the same in every subset.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not this format, or fewer usable questions than asked for.
    """
    path = Path(annotation)
    pictures = read_lists(path, "images", example="dataset_v7w_telling.json of Visual7W")["images"]
    images = ImageRoot(Path(image_root), "task.image_root")
    rows: list[Quarantined] = []
    parts = {}
    for part, split, count, key in (
        ("validation", "val", num_val_samples, "task.num_val_samples"),
        ("test", "test", num_test_samples, "task.num_test_samples"),
    ):
        before = len(rows)
        found = _read_split(
            path, [p for p in pictures if isinstance(p, dict) and p.get("split") == split], images, rows
        )
        parts[part] = take(found, count, seed, f"{key}, {path}, split {split}", rows[before:])
    return as_task("visual7w", parts, rows)


def _read_split(
    path: Path, pictures: list[dict[str, Any]], images: ImageRoot, rows: list[Quarantined]
) -> dict[str, Pictured]:
    found: dict[str, Pictured] = {}
    pairs = [(picture, pair) for picture in pictures for pair in picture.get("qa_pairs") or ()]
    for number, (picture, pair) in enumerate(pairs, 1):
        id = f"visual7w-{pair.get('qa_id')}" if isinstance(pair, dict) else None
        try:
            row = _read_pair(picture, pair, images)
            if row[0].id in found:
                raise BadRow("duplicate id", "qa_id", pair["qa_id"], "the first one is used")
            found[row[0].id] = row
        except BadRow as bad:
            rows.append(quarantined(bad, id=id, stage="task", file=path, record=number))
    return found


def _read_pair(picture: dict[str, Any], pair: Any, images: ImageRoot) -> Pictured:
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
    file = images.locate(text_field(picture.get("filename"), "filename", missing="image missing"))
    sample = Sample(
        id=f"visual7w-{pair['qa_id']}",
        instruction=question,
        answer=answer,
        options=options,
        gold=options.index(answer),
        image=file.path,
        source=f"visual7w/{pair.get('type') or ''}",
    )
    return sample, file.name, file.size


add_task("visual7w", Visual7wTaskConfig, read_task)
