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
from delamo.data.readers.splits import Pictured, as_task
from delamo.data.readers.subsets import take
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class ScienceQaTaskConfig(TaskConfig):
    """ScienceQA; `root` holds problems.json, pid_splits.json and images/SPLIT."""

    root: str = MISSING
    images_only: bool = MISSING
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


def read_task(
    *,
    root: str | Path,
    images_only: bool = True,
    num_val_samples: int | None = None,
    num_test_samples: int | None = None,
    seed: int = 0,
) -> Task:
    """The task of a ScienceQA folder; a subset of each split is drawn from `seed`, None takes all.

    Args:
        images_only: whether problems without a picture are left out (the paper's test scores are multiples of 1/2017, the
            number of test problems with one).

    Raises:
        FileNotFoundError: `root` lacks one of the two JSON files.
        ValueError: a file that is not JSON or lacks a split, or fewer usable problems than asked for.
    """
    root = Path(root)
    problems, splits = _read_json(root, "problems.json"), _read_json(root, "pid_splits.json")
    rows: list[Quarantined] = []
    parts = {}
    for part, split, count, key in (
        ("validation", "val", num_val_samples, "task.num_val_samples"),
        ("test", "test", num_test_samples, "task.num_test_samples"),
    ):
        if not isinstance(splits.get(split), list):
            raise ValueError(  # noqa: TRY004 - of the file, not of an argument
                f"{root / 'pid_splits.json'} has no list {split!r}; it has {sorted(splits)}"
            )
        before = len(rows)
        found = _read_split(root, problems, split, splits[split], images_only, rows)
        which = f"{key}, {root / 'problems.json'}, split {split}" + (", problems with a picture" if images_only else "")
        parts[part] = take(found, count, seed, which, rows[before:])
    return as_task("scienceqa", parts, rows)


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
    root: Path, problems: dict[str, Any], split: str, pids: list[Any], images_only: bool, rows: list[Quarantined]
) -> dict[str, Pictured]:
    folder = root / "images" / split
    images = ImageRoot(folder, "task.root's images") if folder.is_dir() else None
    found: dict[str, Pictured] = {}
    for number, pid in enumerate(pids, 1):
        try:
            if str(pid) not in problems:
                raise BadRow("no such problem", split, pid, "problems.json has no such key")
            problem = problems[str(pid)]
            if images_only and isinstance(problem, dict) and problem.get("image") is None:
                continue
            row = _read_problem(f"{split}-{pid}", str(pid), problem, images, folder)
            if row[0].id in found:
                raise BadRow("duplicate id", split, pid, "the first one is used")
            found[row[0].id] = row
        except BadRow as bad:
            rows.append(
                quarantined(bad, id=f"{split}-{pid}", stage="task", file=root / "pid_splits.json", record=number)
            )
    return found


def _read_problem(id: str, pid: str, problem: Any, images: ImageRoot | None, folder: Path) -> Pictured:
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
    return sample, image.name if image else "", image.size if image else 0


add_task("scienceqa", ScienceQaTaskConfig, read_task)
