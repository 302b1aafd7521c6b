"""MMBench (Liu et al. 2023) as a task: one TSV with a base64 picture in every row.

Columns: index, question, hint, A, B, C, D, answer, category, image, ... Rows with an index of a million and more are
rotations of the options of row index mod 10^6, for circular evaluation; the task takes the rows as first asked, and
with `circular` makes the rotations of the test items itself, so that a file without them will do. Tabs part the fields,
and quotes mean what they mean in CSV; Python's csv module would stop at fields of 131,072 characters, and pandas would
take the options "None" and "NA" for missing ones. Pictures are written to files once, beside the TSV or in
`image_cache`. An `image` of 64 characters or fewer is the index of the row whose picture is meant, which saves space
where several questions share one (VLMEvalKit, vlmeval/dataset/image_base.py).
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
from delamo.data.quarantine import RowError, quarantined, text_field
from delamo.data.readers.splits import Item, as_task, draw_both
from delamo.data.rotations import rotations
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class MmBenchTaskConfig(TaskConfig):
    """MMBench; one TSV with answers."""

    annotation: str = MISSING
    image_cache: str | None = not_in_identity()
    """Where the images are written; null is a folder FILE-images beside the TSV."""
    circular: bool = MISSING
    """Ask each test item in every rotation of its options (`delamo.data.rotations`); it is right if all are."""
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    """Items, not rotations."""
    seed: int = MISSING


ROTATED = 1_000_000  # index of the first row that repeats another with its options rotated
MAX_REFERENCE = 64  # characters of an `image` that is another row's index and no picture, as VLMEvalKit defines it
LETTERS = "ABCD"
COLUMNS = ("index", "question", "A", "B", "answer", "image")


def read_task(config: MmBenchTaskConfig) -> Task:
    """Read the task of a TSV with answers (the dev file); disjoint validation and test samples are drawn.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, or fewer usable rows than asked for.
    """
    path = Path(config.annotation)
    if not path.is_file():
        raise FileNotFoundError(f"task.annotation is {path}: no such file (MMBench_DEV_EN.tsv of opencompass)")
    folder = Path(config.image_cache) if config.image_cache else path.with_name(f"{path.stem}-images")
    bad_rows: list[Quarantined] = []
    items = _read_rows(path, folder.resolve(), bad_rows)
    key = f"task.num_val_samples + task.num_test_samples, {path}"
    parts = draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)
    if config.circular:
        parts["test"] = [item._replace(sample=turned) for item in parts["test"] for turned in rotations(item.sample)]
    return dataclasses.replace(as_task("mmbench", parts, bad_rows), circular=config.circular)


def _read_rows(path: Path, folder: Path, bad_rows: list[Quarantined]) -> dict[str, Item]:
    """Read the usable rows as first asked, by id; the others are appended to `bad_rows`."""
    folder.mkdir(parents=True, exist_ok=True)
    images = _TableImages(path, folder)
    items: dict[str, Item] = {}
    for number, row in enumerate(_table(path), 1):
        try:
            index = _read_index(row["index"])
            if index >= ROTATED:
                continue
            item = _read_row(index, row, images)
            if item.sample.id in items:
                raise RowError("duplicate id", "index", index, "the first row with it is used")
            items[item.sample.id] = item
        except RowError as bad:
            bad_rows.append(quarantined(bad, id=f"mmbench-{row['index']}", stage="task", file=path, record=number))
    return items


def _table(path: Path) -> Iterator[dict[str, str | None]]:
    """Yield the rows in their order. Raises ValueError where a column is missing."""
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
        raise RowError("no id", "index", value, "expected a number")
    return int(text)


def _read_row(index: int, row: dict[str, str | None], images: _TableImages) -> Item:
    question = text_field(row["question"], "question", missing="no text")
    hint = (row.get("hint") or "").strip()
    texts = [(letter, (row.get(letter) or "").strip()) for letter in LETTERS]
    present = [(letter, text) for letter, text in texts if text]
    letters = [letter for letter, _ in present]
    if letters != list(LETTERS[: len(letters)]) or len(letters) < 2:
        raise RowError("empty option", "A to D", dict(texts), "expected two to four texts from A on")
    answer = text_field(row["answer"], "answer", missing="no answer")
    if answer not in letters:
        raise RowError("gold not among options", "answer", answer, f"options {letters}")
    options, gold = tuple(text for _, text in present), letters.index(answer)
    name, _ = images.of(row)
    sample = Sample(
        id=f"mmbench-{index:06d}",
        instruction=f"{hint}\n{question}" if hint else question,
        answer=options[gold],
        options=options,
        gold=gold,
        image=str(images.folder / name),
        source=(row.get("category") or "").strip(),
    )
    return Item(sample, name)


class _TableImages:
    """The images of a TSV as files; a row that names another row has that row's image, wherever it is in the file."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.folder = folder
        self._owners = _owners(path)
        self._owned: dict[str, tuple[str, int]] = {}
        wanted = set(self._owners.values())
        for row in _table(path) if wanted else ():
            index = _stripped(row["index"])
            if index in wanted and index not in self._owned:
                with contextlib.suppress(RowError):  # told of each row that names this one
                    self._owned[index] = _keep_image(row["image"], self.folder)

    def of(self, row: dict[str, str | None]) -> tuple[str, int]:
        """Return the file name and the size in bytes of a row's image. Raises RowError."""
        if not 0 < len(_stripped(row["image"])) <= MAX_REFERENCE:
            return _keep_image(row["image"], self.folder)
        owned = self._owned.get(self._owners.get(_stripped(row["index"]), ""))
        if owned is None:
            raise RowError(
                "image missing", "image", row["image"], "it names another row's index, none with a picture has it"
            )
        return owned


def _owners(path: Path) -> dict[str, str]:
    """Map the index of each row that names another one to the index of the row that has the image.

    Rows may name one another over any number of rows; those that name each other in a circle are left out.
    """
    references: dict[str, str] = {}
    for row in _table(path):
        if 0 < len(image := _stripped(row["image"])) <= MAX_REFERENCE:
            references.setdefault(_stripped(row["index"]), image)
    indices = [index for index in references if index.isdigit() and int(index) < ROTATED]
    owners = {index: _followed(index, references) for index in indices}
    return {index: owner for index, owner in owners.items() if owner not in references}


def _followed(index: str, references: dict[str, str]) -> str:
    seen: set[str] = set()
    while index in references and index not in seen:
        seen.add(index)
        index = references[index]
    return index


def _stripped(field: str | None) -> str:
    return (field or "").strip()


def _keep_image(field: str | None, folder: Path) -> tuple[str, int]:
    """Write a base64 image under the name of its content; returns the name and the size in bytes.

    Whether it decodes as an image is seen when it is opened.
    """
    text = text_field(field, "image", missing="image missing")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise RowError("image broken", "image", text, f"not base64: {problem}") from problem
    name = f"{hashlib.sha256(content).hexdigest()[:24]}.jpg"
    if not (folder / name).is_file() or (folder / name).stat().st_size != len(content):
        partial = folder / f"{name}.part"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return name, len(content)


add_task("mmbench", MmBenchTaskConfig, read_task)
