"""MMBench (Liu et al. 2023) as a task: one TSV with a base64 picture in every row.

Columns: index, question, hint, A, B, C, D, answer, category, image, ... Rows with an index of a million and more are
rotations of the options of row index mod 10^6, for circular evaluation; the task takes the rows as first asked, and with `circular` makes
the rotations of the test items itself, so that a file without them will do. Tabs
part the fields, and quotes mean what they mean in CSV; Python's csv module would stop at fields of 131,072 characters, and pandas would
take the options "None" and "NA" for missing ones. Pictures are written to files once, beside the TSV or in `image_cache`.
An `image` of 64 characters or fewer is the index of the row whose picture is meant, which saves space where several questions share one
(VLMEvalKit, vlmeval/dataset/image_base.py).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING
from tqdm import tqdm

from delamo.config.fields import not_in_identity
from delamo.data import Task, TaskConfig, add_task
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.splits import Pictured, as_task, draw_both
from delamo.data.rotations import rotations
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class MmBenchTaskConfig(TaskConfig):
    """MMBench; one TSV with answers."""

    annotation: str = MISSING
    image_cache: str | None = not_in_identity()
    circular: bool = MISSING
    """Whether a test item counts as right only where it is right in every rotation of its options."""
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


ROTATED = 1_000_000  # index of the first row that repeats another with its options rotated
MAX_REFERENCE = 64  # characters of an `image` that is another row's index and no picture, as VLMEvalKit defines it
LETTERS = "ABCD"
COLUMNS = ("index", "question", "A", "B", "answer", "image")


def read_task(
    *,
    annotation: str | Path,
    image_cache: str | Path | None = None,
    circular: bool = False,
    num_val_samples: int,
    num_test_samples: int,
    seed: int = 0,
) -> Task:
    """The task of a TSV with answers (the dev file); disjoint validation and test samples are drawn from `seed`.

    Args:
        image_cache: where the pictures are written; None is a folder `FILE-images` beside the TSV.
        circular: whether every test item is asked in each rotation of its options (`delamo.data.rotations`); num_test_samples counts items.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, or fewer usable rows than asked for.
    """
    path = Path(annotation)
    if not path.is_file():
        raise FileNotFoundError(f"task.annotation is {path}: no such file (MMBench_DEV_EN.tsv of opencompass)")
    folder = Path(image_cache) if image_cache else path.with_name(f"{path.stem}-images")
    rows: list[Quarantined] = []
    found = _read_rows(path, folder.resolve(), rows)
    key = f"task.num_val_samples + task.num_test_samples, {path}"
    parts = draw_both(found, num_val_samples, num_test_samples, seed, key, rows)
    if circular:
        parts["test"] = [(turned, *picture) for sample, *picture in parts["test"] for turned in rotations(sample)]
    return dataclasses.replace(as_task("mmbench", parts, rows), circular=circular)


def _read_rows(path: Path, folder: Path, rows: list[Quarantined]) -> dict[str, Pictured]:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _Pictures(path, folder)
    found: dict[str, Pictured] = {}
    for number, row in enumerate(_table(path), 1):
        try:
            index = _read_index(row["index"])
            if index >= ROTATED:
                continue
            pictured = _read_row(index, row, pictures)
            if pictured[0].id in found:
                raise BadRow("duplicate id", "index", index, "the first row with it is used")
            found[pictured[0].id] = pictured
        except BadRow as bad:
            rows.append(quarantined(bad, id=f"mmbench-{row['index']}", stage="task", file=path, record=number))
    return found


def _table(path: Path) -> Iterator[dict[str, str | None]]:
    """The rows in their order. Raises ValueError where a column is missing."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, delimiter="\t")
        lacking = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if lacking:
            raise ValueError(f"{path} has no column {lacking[0]!r}; it has {table.fieldnames}")
        yield from tqdm(table, desc=f"reading {path.name}", unit=" rows", delay=5, leave=False)


def _read_index(value: str | None) -> int:
    text = text_field(value, "index", missing="no id")
    if not text.isdigit():
        raise BadRow("no id", "index", value, "expected a number")
    return int(text)


def _read_row(index: int, row: dict[str, str | None], pictures: _Pictures) -> Pictured:
    question = text_field(row["question"], "question", missing="no text")
    hint = (row.get("hint") or "").strip()
    texts = [(letter, (row.get(letter) or "").strip()) for letter in LETTERS]
    present = [(letter, text) for letter, text in texts if text]
    letters = [letter for letter, _ in present]
    if letters != list(LETTERS[: len(letters)]) or len(letters) < 2:
        raise BadRow("empty option", "A to D", dict(texts), "expected two to four texts from A on")
    answer = text_field(row["answer"], "answer", missing="no answer")
    if answer not in letters:
        raise BadRow("gold not among options", "answer", answer, f"options {letters}")
    options, gold = tuple(text for _, text in present), letters.index(answer)
    name, size = pictures.of(row)
    sample = Sample(
        id=f"mmbench-{index:06d}",
        instruction=f"{hint}\n{question}" if hint else question,
        answer=options[gold],
        options=options,
        gold=gold,
        image=str(pictures.folder / name),
        source=(row.get("category") or "").strip(),
    )
    return sample, name, size


class _Pictures:
    """The pictures of a TSV as files. A row that names another one has its picture, wherever in the file that row stands."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.folder = folder
        self._owners = _owners(path)
        self._owned: dict[str, tuple[str, int]] = {}
        wanted = set(self._owners.values())
        for row in _table(path) if wanted else ():
            index = _stripped(row["index"])
            if index in wanted and index not in self._owned:
                with contextlib.suppress(BadRow):  # told of each row that names this one
                    self._owned[index] = _keep_picture(row["image"], self.folder)

    def of(self, row: dict[str, str | None]) -> tuple[str, int]:
        """(file name, bytes) of a row's picture. Raises BadRow."""
        if not 0 < len(_stripped(row["image"])) <= MAX_REFERENCE:
            return _keep_picture(row["image"], self.folder)
        owned = self._owned.get(self._owners.get(_stripped(row["index"]), ""))
        if owned is None:
            raise BadRow(
                "image missing", "image", row["image"], "it names another row's index, none with a picture has it"
            )
        return owned


def _owners(path: Path) -> dict[str, str]:
    """Index of a row that names another one -> index of the row with the picture, over as many rows as name each other."""
    named: dict[str, str] = {}
    for row in _table(path):
        if 0 < len(image := _stripped(row["image"])) <= MAX_REFERENCE:
            named.setdefault(_stripped(row["index"]), image)
    followed = {index: _followed(index, named) for index in named if index.isdigit() and int(index) < ROTATED}
    return {index: owner for index, owner in followed.items() if owner not in named}  # not of rows that name each other


def _followed(index: str, named: dict[str, str]) -> str:
    seen: set[str] = set()
    while index in named and index not in seen:
        seen.add(index)
        index = named[index]
    return index


def _stripped(field: str | None) -> str:
    return (field or "").strip()


def _keep_picture(field: str | None, folder: Path) -> tuple[str, int]:
    """Write a base64 picture under the name of its content; (name, bytes). Whether it decodes as a picture is seen when it is opened."""
    text = text_field(field, "image", missing="image missing")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise BadRow("image broken", "image", text, f"not base64: {problem}") from problem
    name = f"{hashlib.sha256(content).hexdigest()[:24]}.jpg"
    if not (folder / name).is_file() or (folder / name).stat().st_size != len(content):
        partial = folder / f"{name}.part"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return name, len(content)


add_task("mmbench", MmBenchTaskConfig, read_task)
