"""Anyone's data in the LLaVA format: a JSON array or JSON lines of `id`, `image`?, `conversations: [{from, value}]`.

Vision-Flan is published like that, and so are LLaVA's own mixtures and the exports of most labelling tools. As a pool, a
record's turns are used as they stand; as a task, `Options: (a) ... (b) ...` in the question is parsed, and the answer
(`(e) This image contains a sink`) is matched to one of them. What cannot be used is quarantined, row by row.

A record holds one question and one answer. One with several turns is quarantined: a later turn means nothing alone, and the
trainer imitates a single answer.
"""

from __future__ import annotations

import bisect
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING
from tqdm import tqdm

from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.identity import ContentDigest
from delamo.data.image_paths import ImageFile, ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.json_records import Record, read_at, read_records
from delamo.data.readers.subsets import take
from delamo.records import LETTERS, Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class LlavaJsonPoolConfig(PoolConfig):
    """A pool in LLaVA's JSON (Vision-Flan, LLaVA-Instruct)."""

    annotation: str = MISSING
    image_root: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class LlavaJsonTaskConfig(TaskConfig):
    """A target in LLaVA's JSON, one file for each split."""

    validation: str = MISSING
    test: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


IMAGE_TOKEN = "<image>"
SPEAKERS = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}

_OPTIONS = re.compile(r"\bOptions:\s*(?=\(a\))", re.IGNORECASE)
_ANSWER_LETTER = re.compile(r"\(([a-z])\)|([a-z])(?=[.):]|$)", re.IGNORECASE)


class LlavaJsonPool:
    """A pool of LLaVA-format records. In memory: ids and byte offsets; a text is read from the file when it is asked for."""

    removed: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, annotation: Path, image_root: Path) -> None:
        """Read the file once, checking every record.

        Raises:
            FileNotFoundError: no such annotation file or image root.
            ValueError: the file is not JSON, or no record in it can be used.
        """
        self.name = annotation.stem
        self._path = annotation
        self._images = ImageRoot(image_root)
        self._places: dict[str, tuple[int, int]] = {}
        self._quarantined: list[Quarantined] = []
        self.digest = self._scan()
        self._ids = sorted(self._places)
        self._offsets = array("q", (self._places[id][0] for id in self._ids))
        self._lengths = array("q", (self._places[id][1] for id in self._ids))
        del self._places

    def _scan(self) -> str:
        digest = ContentDigest()
        for record in progress(read_records(self._path), f"reading {self._path.name}"):
            try:
                sample, image = self._sample(_parsed(record))
                if self._is_held_out(sample):
                    continue
                if sample.id in self._places:
                    raise _duplicate(sample)
            except BadRow as bad:
                row = quarantined(bad, id=id_or_none(record), stage="pool", file=self._path, record=record.number)
                self._quarantined.append(row)
                continue
            self._places[sample.id] = (record.offset, record.length)
            digest.add(sample, image_name=image.name if image else "", image_size=image.size if image else 0)
        if not self._places:
            raise nothing_readable(self._path, self._quarantined)
        return digest.hexdigest()

    def _sample(self, value: Any) -> tuple[Sample, ImageFile | None]:
        """One record under the id that the pool gives it."""
        return read_sample(value, self._images)

    def _is_held_out(self, sample: Sample) -> bool:
        """Whether the sample is no part of this pool, on purpose."""
        return False

    @property
    def image_root(self) -> str:
        """The folder of the pictures, symbolic links resolved."""
        return self._images.root

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The records that cannot be used, in file order."""
        return self._quarantined

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Sample]:
        with self._path.open("rb") as file:
            for index in range(len(self._ids)):
                yield self._read(file, index)

    def ids(self) -> Sequence[str]:
        """All usable ids, ascending; no text is read."""
        return self._ids

    def get(self, id: str) -> Sample:
        """The sample of that id. Raises KeyError where the pool has none."""
        index = bisect.bisect_left(self._ids, id)
        if index == len(self._ids) or self._ids[index] != id:
            raise KeyError(f"{self._path} has no usable record with id {id!r}")
        with self._path.open("rb") as file:
            return self._read(file, index)

    def _read(self, file: Any, index: int) -> Sample:
        offset, length = self._offsets[index], self._lengths[index]
        try:
            sample, _ = self._sample(read_at(file, offset, length))
        except (ValueError, KeyError) as problem:
            raise RuntimeError(f"{self._path} or its pictures changed while in use: {problem}") from problem
        if sample.id != self._ids[index]:
            raise RuntimeError(f"{self._path} changed while in use: {self._ids[index]!r} is now {sample.id!r}")
        return sample


def read_pool(*, annotation: str | Path, image_root: str | Path | None = None) -> LlavaJsonPool:
    """The pool of an annotation file; pictures lie under `image_root`, by default the folder of the annotation file.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not JSON, or nothing usable.
    """
    path = existing(annotation, "pool.annotation")
    return LlavaJsonPool(path, Path(image_root) if image_root else path.parent)


def read_task(
    *,
    validation: str | Path,
    test: str | Path,
    image_root: str | Path | None = None,
    num_val_samples: int | None = None,
    num_test_samples: int | None = None,
    seed: int = 0,
) -> Task:
    """The task of two annotation files; a subset is drawn from `seed`, by default all of both.

    A validation sample with the question and the picture of a test sample is quarantined (`also in test`): tuning must not see
    the test set by a side door.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not JSON, nothing usable, both files the same, or more samples asked for than there are.
    """
    paths = existing(validation, "task.validation"), existing(test, "task.test")
    if paths[0].samefile(paths[1]):
        raise ValueError(f"task.validation and task.test are the same file, {paths[0]}")
    images = ImageRoot(Path(image_root) if image_root else paths[0].parent, "task.image_root")
    rows: list[Quarantined] = []
    test_set = _read_split(paths[1], images, rows)
    of_test = len(rows)
    seen = {(sample.instruction, sample.image) for sample, _ in test_set.values()}
    validation_set = _read_split(paths[0], images, rows, tested=seen)
    parts = {
        "validation": take(validation_set, num_val_samples, seed, f"task.num_val_samples, {paths[0]}", rows[of_test:]),
        "test": take(test_set, num_test_samples, seed, f"task.num_test_samples, {paths[1]}", rows[:of_test]),
    }
    digest = ContentDigest()
    for part, chosen in parts.items():
        for sample, image in chosen:
            digest.add(sample, part=part, image_name=image.name if image else "", image_size=image.size if image else 0)
    for row in rows:
        digest.add_quarantined(row)
    samples = {part: [sample for sample, _ in chosen] for part, chosen in parts.items()}
    return Task(name=f"llava_json/{paths[1].stem}", digest=digest.hexdigest(), quarantined=rows, **samples)


def read_sample(value: Any, images: ImageRoot) -> tuple[Sample, ImageFile | None]:
    """One record as a pool sample: the user's turn and the reply verbatim, image tokens taken out.

    Raises:
        BadRow: a field is missing or not what it should be.
    """
    if not isinstance(value, dict):
        raise BadRow("not a record", "record", value, "expected an object with id and conversations")
    id = _read_id(value)
    instruction, answer = read_turns(value.get("conversations"))
    image = _read_image(value, instruction, images)
    sample = Sample(
        id=id,
        instruction=text_field(instruction.replace(IMAGE_TOKEN, ""), "conversations[0].value", missing="no text"),
        answer=answer,
        image=image.path if image else None,
        source=text_field(value["task_name"], "task_name", missing="no text") if value.get("task_name") else "",
    )
    return sample, image


def as_task_sample(sample: Sample) -> Sample:
    """The pool sample as a question of a task: options cut out of the text, the answer matched to one of them.

    A text without `Options: (a) ...` is not multiple-choice: its answer is the gold text.

    Raises:
        BadRow: `gold not among options`, or `duplicate options`.
    """
    question, options = parse_options(sample.instruction)
    if not options:
        return sample
    if not question:
        raise BadRow("no text", "conversations[0].value", sample.instruction, "nothing but options")
    folded = [_folded(option) for option in options]
    if len(set(folded)) < len(folded):
        raise BadRow("duplicate options", "conversations[0].value", list(options))
    gold = find_gold(sample.answer, options)
    if gold is None:
        raise BadRow("gold not among options", "conversations[1].value", sample.answer, f"options {list(options)}")
    return replace(sample, instruction=question, options=options, gold=gold, answer=options[gold])


def parse_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Cut `Options: (a) ... (b) ...` out of a text: (the rest, the option texts); no options unless there are two.

    The letters must follow one another from (a), so that `the (b) vitamin` inside option (c) ends nothing. The last option ends with
    its line; what follows stays in the question.
    """
    starts = list(_OPTIONS.finditer(text))
    if not starts:
        return text, ()
    body, options = text[starts[-1].end() :], []
    for letter in LETTERS[1:].lower():
        cut = re.search(rf"\s\({letter}\)", body, re.IGNORECASE)
        if cut is None:
            break
        options.append(body[3 : cut.start()].strip())
        body = body[cut.start() + 1 :]
    last, _, after = body[3:].strip().partition("\n")
    options.append(last.strip())
    if len(options) < 2:
        return text, ()
    if not all(options):
        raise BadRow("empty option", "conversations[0].value", options)
    return f"{text[: starts[-1].start()].strip()}\n{after.strip()}".strip(), tuple(options)


def find_gold(answer: str, options: Sequence[str]) -> int | None:
    """Index of the option that the answer names, by letter (`(e) a sink`, `E.`, `e`), else by its text; None where neither
    fits, or where the letter says one option and the text after it another."""
    folded = [_folded(option) for option in options]
    if _folded(answer) in folded:
        return folded.index(_folded(answer))
    named = _ANSWER_LETTER.match(answer)
    if not named:
        return None
    index = LETTERS.index((named[1] or named[2]).upper())
    rest = _folded(answer[named.end() :].lstrip(".):"))
    return index if index < len(options) and rest in ("", folded[index]) else None


def _read_split(
    path: Path, images: ImageRoot, rows: list[Quarantined], tested: set[tuple[str, str | None]] | None = None
) -> dict[str, tuple[Sample, ImageFile | None]]:
    """All usable questions of one file by id; the others are appended to `rows`."""
    found: dict[str, tuple[Sample, ImageFile | None]] = {}
    bad_before = len(rows)
    for record in progress(read_records(path), f"reading {path.name}"):
        try:
            pool_sample, image = _usable(record, images, found)
            sample = as_task_sample(pool_sample)
            if tested and (sample.instruction, sample.image) in tested:
                raise BadRow("also in test", "id", sample.id, "same question and picture")
            found[sample.id] = (sample, image)
        except BadRow as bad:
            rows.append(quarantined(bad, id=id_or_none(record), stage="task", file=path, record=record.number))
    if not found:
        raise nothing_readable(path, rows[bad_before:])
    return found


def _usable(record: Record, images: ImageRoot, seen: dict[str, Any]) -> tuple[Sample, ImageFile | None]:
    sample, image = read_sample(_parsed(record), images)
    if sample.id in seen:
        raise _duplicate(sample)
    return sample, image


def _parsed(record: Record) -> Any:
    if record.error:
        raise BadRow("not JSON", "line", record.value, record.error)
    return record.value


def _duplicate(sample: Sample) -> BadRow:
    return BadRow("duplicate id", "id", sample.id, "the first record with it is used")


def _read_id(value: dict[str, Any]) -> str:
    """Ids are text; a whole number, common in exports, is taken as its digits."""
    id = value.get("id")
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    return text_field(id, "id", missing="no id")


def read_turns(turns: Any) -> tuple[str, str]:
    """(the user's turn with its image tokens, the reply). Raises BadRow for anything but one of each."""
    if not isinstance(turns, list) or not turns:
        raise BadRow("no text", "conversations", turns, "expected a list of {from, value}")
    if not all(isinstance(turn, dict) for turn in turns):
        raise BadRow("not text", "conversations", turns, "expected a list of {from, value}")
    speakers = [turn.get("from") for turn in turns]
    known = [SPEAKERS.get(speaker) if isinstance(speaker, str) else None for speaker in speakers]
    if len(turns) > 2 and None not in known:
        raise BadRow("several turns", "conversations", speakers, "expected one human turn and one gpt turn")
    if known != ["human", "gpt"]:
        raise BadRow("unknown speakers", "conversations", speakers, "expected one human turn and one gpt turn")
    texts = [text_field(t.get("value"), f"conversations[{i}].value", missing="no text") for i, t in enumerate(turns)]
    return texts[0], texts[1]


def _read_image(value: dict[str, Any], instruction: str, images: ImageRoot) -> ImageFile | None:
    name, tokens = value.get("image"), instruction.count(IMAGE_TOKEN)
    if tokens > 1:
        raise BadRow(
            "several images", "conversations[0].value", instruction, f"{tokens} image tokens, one picture a sample"
        )
    if name is None:
        if tokens:
            raise BadRow("image missing", "image", name, f"the text has an {IMAGE_TOKEN} token")
        return None
    return images.locate(text_field(name, "image", missing="image missing"))


def id_or_none(record: Record) -> str | None:
    id = record.value.get("id") if isinstance(record.value, dict) else None
    readable = isinstance(id, str) and id.strip() and not any("\ud800" <= c <= "\udfff" for c in id)
    return id.strip() if readable else str(id) if isinstance(id, int) else None


def existing(path: str | Path, key: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{key} is {path}: no such file")
    return path


def nothing_readable(path: Path, rows: Sequence[Quarantined]) -> ValueError:
    first = f": {len(rows)} quarantined, the first: {rows[0].detail}" if rows else ""
    return ValueError(f"{path} holds no usable record{first}")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


def progress(records: Iterator[Record], verb: str) -> Iterator[Record]:
    return tqdm(records, desc=verb, unit=" records", delay=5, leave=False)


add_pool("llava_json", LlavaJsonPoolConfig, read_pool)
add_task("llava_json", LlavaJsonTaskConfig, read_task)
