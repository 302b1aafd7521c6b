"""Anyone's data in the LLaVA format: a JSON array or JSON lines of `id`, `image`?, `conversations: [{from, value}]`.

Vision-Flan is published like that, and so are LLaVA's own mixtures and the exports of most labelling tools. As a pool,
a record's turns are used as they stand; as a task, `Options: (a) ... (b) ...` in the question is parsed, and the answer
(`(e) This image contains a sink`) is matched to one of them. What cannot be used is quarantined, row by row.

A record holds one question and one answer. One with several turns is quarantined: a later turn means nothing alone, and
the trainer imitates a single answer.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING
from tqdm import tqdm

from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.identity import ContentDigest
from delamo.data.image_paths import ImageFile, ImageRoot
from delamo.data.quarantine import RowError, quarantined, text_field
from delamo.data.readers.json_records import Record, read_at, read_records
from delamo.data.readers.sorted_pool import SortedPool
from delamo.data.readers.splits import Item, as_task, take
from delamo.records import LETTERS, Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class LlavaJsonPoolConfig(PoolConfig):
    """A pool in LLaVA's JSON (Vision-Flan, LLaVA-Instruct)."""

    annotation: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""


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


class LlavaJsonPool(SortedPool):
    """A pool of LLaVA-format records.

    In memory are ids and byte offsets; a text is read from the file when it is asked for.
    """

    def __init__(self, annotation: Path, image_root: Path) -> None:
        """Read the file once, checking every record.

        Raises:
            FileNotFoundError: no such annotation file or image root.
            ValueError: the file is not JSON, or no record in it can be used.
        """
        self.name = annotation.stem
        self._path = self._source = annotation
        self._images = ImageRoot(image_root)
        self._quarantined: list[Quarantined] = []
        self.digest, spans = self._scan()
        self._ids = sorted(spans)
        self._offsets = array("q", (spans[id][0] for id in self._ids))
        self._lengths = array("q", (spans[id][1] for id in self._ids))

    def _scan(self) -> tuple[str, dict[str, tuple[int, int]]]:
        """Read every record; returns the digest, and the offset and length of each usable record by id."""
        digest, spans = ContentDigest(), {}
        for record in progress(read_records(self._path), f"reading {self._path.name}"):
            try:
                sample, image = self._sample(_parsed(record))
                if self._is_held_out(sample):
                    continue
                if sample.id in spans:
                    raise _duplicate(sample)
            except RowError as bad:
                row = quarantined(bad, id=id_or_none(record), stage="pool", file=self._path, record=record.number)
                self._quarantined.append(row)
                continue
            spans[sample.id] = (record.offset, record.length)
            digest.add(*Item.of(sample, image))
        if not spans:
            raise nothing_readable(self._path, self._quarantined)
        return digest.hexdigest(), spans

    def _sample(self, value: Any) -> tuple[Sample, ImageFile | None]:
        """Read one record under the id that the pool gives it."""
        return read_sample(value, self._images)

    def _is_held_out(self, sample: Sample) -> bool:
        """Return whether the sample is left out of this pool on purpose."""
        return False

    @property
    def image_root(self) -> str:
        """The folder of the images, symbolic links resolved."""
        return self._images.root

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The records that cannot be used, in file order."""
        return self._quarantined

    def __iter__(self) -> Iterator[Sample]:
        with self._path.open("rb") as file:
            for index in range(len(self._ids)):
                yield self._read(file, index)

    def _sample_at(self, index: int) -> Sample:
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


def read_pool(config: LlavaJsonPoolConfig) -> LlavaJsonPool:
    """Read the pool of an annotation file.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not JSON, or nothing usable.
    """
    path = existing(config.annotation, "pool.annotation")
    return LlavaJsonPool(path, Path(config.image_root) if config.image_root else path.parent)


def read_task(config: LlavaJsonTaskConfig) -> Task:
    """Read the task of two annotation files.

    A validation sample with the question and the image of a test sample is quarantined (`also in test`): tuning must
    not see a test sample through the validation set.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not JSON, nothing usable, both files the same, or more samples asked for than there are.
    """
    validation, test = existing(config.validation, "task.validation"), existing(config.test, "task.test")
    if validation.samefile(test):
        raise ValueError(f"task.validation and task.test are the same file, {validation}")
    images = ImageRoot(Path(config.image_root) if config.image_root else validation.parent, "task.image_root")
    bad_test: list[Quarantined] = []
    bad_validation: list[Quarantined] = []
    test_items = _read_split(test, images, bad_test)
    questions = {(item.sample.instruction, item.sample.image) for item in test_items.values()}
    validation_items = _read_split(validation, images, bad_validation, tested=questions)
    sizes = config.num_val_samples, config.num_test_samples
    parts = {
        "validation": take(
            validation_items, sizes[0], config.seed, f"task.num_val_samples, {validation}", bad_validation
        ),
        "test": take(test_items, sizes[1], config.seed, f"task.num_test_samples, {test}", bad_test),
    }
    return as_task(f"llava_json/{test.stem}", parts, [*bad_test, *bad_validation])


def read_sample(value: Any, images: ImageRoot) -> tuple[Sample, ImageFile | None]:
    """Read one record as a pool sample: the user's turn and the reply verbatim, image tokens taken out.

    Raises:
        RowError: a field is missing or not what it should be.
    """
    if not isinstance(value, dict):
        raise RowError("not a record", "record", value, "expected an object with id and conversations")
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
    """Turn a pool sample into a question of a task: options cut out of the text, the answer matched to one of them.

    A text without `Options: (a) ...` is not multiple-choice: its answer is the gold text.

    Raises:
        RowError: `gold not among options`, or `duplicate options`.
    """
    question, options = parse_options(sample.instruction)
    if not options:
        return sample
    if not question:
        raise RowError("no text", "conversations[0].value", sample.instruction, "nothing but options")
    folded = [_folded(option) for option in options]
    if len(set(folded)) < len(folded):
        raise RowError("duplicate options", "conversations[0].value", list(options))
    gold = find_gold(sample.answer, options)
    if gold is None:
        raise RowError("gold not among options", "conversations[1].value", sample.answer, f"options {list(options)}")
    return replace(sample, instruction=question, options=options, gold=gold, answer=options[gold])


def parse_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Cut `Options: (a) ... (b) ...` out of a text.

    The letters must follow one another from (a), so that `the (b) vitamin` inside option (c) ends nothing. The last
    option ends with its line; what follows stays in the question.

    Returns:
        The rest of the text, and the options: none, or two and more.

    Raises:
        RowError: `empty option`.
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
        raise RowError("empty option", "conversations[0].value", options)
    return f"{text[: starts[-1].start()].strip()}\n{after.strip()}".strip(), tuple(options)


def find_gold(answer: str, options: Sequence[str]) -> int | None:
    """Return the index of the option that an answer names, by its text or by letter (`(e) a sink`, `E.`, `e`).

    None where neither fits, or where the letter names one option and the text after it another.
    """
    folded = [_folded(option) for option in options]
    if _folded(answer) in folded:
        return folded.index(_folded(answer))
    letter = _ANSWER_LETTER.match(answer)
    if not letter:
        return None
    index = LETTERS.index((letter[1] or letter[2]).upper())
    rest = _folded(answer[letter.end() :].lstrip(".):"))
    return index if index < len(options) and rest in ("", folded[index]) else None


def _read_split(
    path: Path, images: ImageRoot, bad_rows: list[Quarantined], tested: Set[tuple[str, str | None]] = frozenset()
) -> dict[str, Item]:
    """Read all usable questions of one file, by id; the others are appended to `bad_rows`."""
    items: dict[str, Item] = {}
    for record in progress(read_records(path), f"reading {path.name}"):
        try:
            pool_sample, image = read_sample(_parsed(record), images)
            if pool_sample.id in items:
                raise _duplicate(pool_sample)
            sample = as_task_sample(pool_sample)
            if (sample.instruction, sample.image) in tested:
                raise RowError("also in test", "id", sample.id, "same question and picture")
            items[sample.id] = Item.of(sample, image)
        except RowError as bad:
            bad_rows.append(quarantined(bad, id=id_or_none(record), stage="task", file=path, record=record.number))
    if not items:
        raise nothing_readable(path, bad_rows)
    return items


def _parsed(record: Record) -> Any:
    if record.error:
        raise RowError("not JSON", "line", record.value, record.error)
    return record.value


def _duplicate(sample: Sample) -> RowError:
    return RowError("duplicate id", "id", sample.id, "the first record with it is used")


def _read_id(value: dict[str, Any]) -> str:
    """Read an id: text, or a whole number, common in exports, as its digits."""
    id = value.get("id")
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    return text_field(id, "id", missing="no id")


def read_turns(turns: Any) -> tuple[str, str]:
    """Return the user's turn, with its image tokens, and the reply. Raises RowError for anything but one of each."""
    if not isinstance(turns, list) or not turns:
        raise RowError("no text", "conversations", turns, "expected a list of {from, value}")
    if not all(isinstance(turn, dict) for turn in turns):
        raise RowError("not text", "conversations", turns, "expected a list of {from, value}")
    speakers = [turn.get("from") for turn in turns]
    known = [SPEAKERS.get(speaker) if isinstance(speaker, str) else None for speaker in speakers]
    if len(turns) > 2 and None not in known:
        raise RowError("several turns", "conversations", speakers, "expected one human turn and one gpt turn")
    if known != ["human", "gpt"]:
        raise RowError("unknown speakers", "conversations", speakers, "expected one human turn and one gpt turn")
    texts = [text_field(t.get("value"), f"conversations[{i}].value", missing="no text") for i, t in enumerate(turns)]
    return texts[0], texts[1]


def _read_image(value: dict[str, Any], instruction: str, images: ImageRoot) -> ImageFile | None:
    name, tokens = value.get("image"), instruction.count(IMAGE_TOKEN)
    if tokens > 1:
        raise RowError(
            "several images", "conversations[0].value", instruction, f"{tokens} image tokens, one picture a sample"
        )
    if name is None:
        if tokens:
            raise RowError("image missing", "image", name, f"the text has an {IMAGE_TOKEN} token")
        return None
    return images.locate(text_field(name, "image", missing="image missing"))


def id_or_none(record: Record) -> str | None:
    """Return the id of a record as far as it can be read, for its row in the quarantine."""
    id = record.value.get("id") if isinstance(record.value, dict) else None
    readable = isinstance(id, str) and id.strip() and not any("\ud800" <= c <= "\udfff" for c in id)
    return id.strip() if readable else str(id) if isinstance(id, int) else None


def existing(path: str | Path, key: str) -> Path:
    """Return the path of a file that the config names. Raises FileNotFoundError, naming the key."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{key} is {path}: no such file")
    return path


def nothing_readable(path: Path, rows: Sequence[Quarantined]) -> ValueError:
    """Make the error for a file without a usable record, which shows the first reason."""
    first = f": {len(rows)} quarantined, the first: {rows[0].detail}" if rows else ""
    return ValueError(f"{path} holds no usable record{first}")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")


def progress(records: Iterator[Record], description: str) -> Iterator[Record]:
    """Show a bar over records, if they take longer than a few seconds."""
    return tqdm(records, desc=description, unit=" records", delay=5, leave=False)


add_pool("llava_json", LlavaJsonPoolConfig, read_pool)
add_task("llava_json", LlavaJsonTaskConfig, read_task)
