"""ScienceQA (Lu et al. 2022) as a task: `problems.json`, `pid_splits.json`, pictures as `images/SPLIT/PID/image.png`.

A problem has `question`, `choices`, `answer` (an index), `hint` (its context, may be empty) and `image` (a file name or null).
The official `val` split is the validation set, `test` the test set; of both, by default, the problems with a picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.splits import Item, as_task, take
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class ScienceQaTaskConfig(TaskConfig):
    """ScienceQA; `root` holds problems.json, pid_splits.json and images/SPLIT."""

    root: str = MISSING
    images_only: bool = MISSING
    """Leave out problems without an image: the paper's test scores are multiples of 1/2017, the number of test problems
    with one."""
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


def read_task(config: ScienceQaTaskConfig) -> Task:
    """Read the official splits `val` and `test` of a ScienceQA folder.

    Raises:
        FileNotFoundError: `root` lacks one of the two JSON files.
        ValueError: a file that is not JSON or lacks a split, or fewer usable problems than asked for.
    """
    root = Path(config.root)
    problems, splits = _read_json(root, "problems.json"), _read_json(root, "pid_splits.json")
    with_image = ", problems with a picture" if config.images_only else ""
    all_bad_rows: list[Quarantined] = []
    parts = {}
    for part, split, count, key in (
        ("validation", "val", config.num_val_samples, "task.num_val_samples"),
        ("test", "test", config.num_test_samples, "task.num_test_samples"),
    ):
        if not isinstance(splits.get(split), list):
            raise ValueError(  # noqa: TRY004 - of the file, not of an argument
                f"{root / 'pid_splits.json'} has no list {split!r}; it has {sorted(splits)}"
            )
        items, bad_rows = _read_split(root, problems, split, splits[split], config.images_only)
        key = f"{key}, {root / 'problems.json'}, split {split}{with_image}"
        parts[part] = take(items, count, config.seed, key, bad_rows)
        all_bad_rows += bad_rows
    return as_task("scienceqa", parts, all_bad_rows)


def _read_json(root: Path, name: str) -> dict[str, Any]:
    if not (root / name).is_file():
        raise FileNotFoundError(f"task.root is {root}: no {name} in it (the data folder of lupantech/ScienceQA)")
    try:
        value = json.loads((root / name).read_text(encoding="utf-8-sig"))
    except ValueError as problem:
        raise ValueError(f"{root / name} is not JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise ValueError(f"{root / name} holds a {type(value).__name__}, expected an object")  # noqa: TRY004
    return value


def _read_split(
    root: Path, problems: dict[str, Any], split: str, pids: list[Any], images_only: bool
) -> tuple[dict[str, Item], list[Quarantined]]:
    """Read the usable problems of one split, by id, and the rows that cannot be used."""
    folder = root / "images" / split
    images = ImageRoot(folder, "task.root's images") if folder.is_dir() else None
    items: dict[str, Item] = {}
    bad_rows: list[Quarantined] = []
    for number, pid in enumerate(pids, 1):
        try:
            if str(pid) not in problems:
                raise BadRow("no such problem", split, pid, "problems.json has no such key")
            problem = problems[str(pid)]
            if images_only and isinstance(problem, dict) and problem.get("image") is None:
                continue
            item = _read_problem(f"{split}-{pid}", str(pid), problem, images, folder)
            if item.sample.id in items:
                raise BadRow("duplicate id", split, pid, "the first one is used")
            items[item.sample.id] = item
        except BadRow as bad:
            bad_rows.append(
                quarantined(bad, id=f"{split}-{pid}", stage="task", file=root / "pid_splits.json", record=number)
            )
    return items, bad_rows


def _read_problem(id: str, pid: str, problem: Any, images: ImageRoot | None, folder: Path) -> Item:
    if not isinstance(problem, dict):
        raise BadRow("not a record", pid, problem, "expected an object with question, choices and answer")
    question = text_field(problem.get("question"), "question", missing="no text")
    hint = problem.get("hint")
    if isinstance(hint, str) and hint.strip():
        question = f"{hint.strip()}\n{question}"
    choices = problem.get("choices")
    if not isinstance(choices, list) or len(choices) < 2:
        raise BadRow("no options", "choices", choices, "expected a list of two or more texts")
    options = tuple(text_field(text, f"choices[{i}]", missing="empty option") for i, text in enumerate(choices))
    gold = problem.get("answer")
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(options):
        raise BadRow("gold not among options", "answer", gold, f"options {list(options)}")
    image = None
    if problem.get("image") is not None:
        if images is None:
            raise BadRow("image missing", "image", problem["image"], f"no folder {folder}")
        image = images.locate(f"{pid}/{text_field(problem['image'], 'image', missing='image missing')}")
    sample = Sample(
        id=id,
        instruction=question,
        answer=options[gold],
        options=options,
        gold=gold,
        image=image.path if image else None,
        source=str(problem.get("skill") or ""),
    )
    return Item.of(sample, image)


add_task("scienceqa", ScienceQaTaskConfig, read_task)
