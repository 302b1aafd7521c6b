"""Rows of a `datasets` split as questions and as examples, by a map of columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from delamo.data.arrow_table import ArrowTable, image_in
from delamo.data.image_paths import ImageFile, ImageRoot
from delamo.data.quarantine import RowError, text_field
from delamo.data.readers.hf_loading import Loaded
from delamo.data.readers.llava_json import IMAGE_TOKEN, as_task_sample, find_gold, read_turns
from delamo.data.readers.splits import Item
from delamo.records import LETTERS, Sample


@dataclass(slots=True, kw_only=True)
class ColumnsConfig:
    """Which column holds what; null where none does. A dot leads into a struct, as in `choices.text`."""

    id: str | None = MISSING
    """null numbers the rows: SPLIT-000000012."""
    instruction: str | None = MISSING
    answer: str | None = MISSING
    image: str | None = MISSING
    options: str | None = MISSING
    """A list of texts."""
    option_columns: list[str] = MISSING
    """One column an option, as in [A, B, C, D], in place of `options`; empty ones at the end are no options."""
    gold: str | None = MISSING
    """An index from 0, a letter, or an option's text; of a class label without options, all classes are the options."""
    conversations: str | None = MISSING
    """A list of one user's turn and one reply, as {from, value} or as {role, content}, in place of instruction and
    answer."""
    source: str | None = MISSING

    def set_columns(self) -> dict[str, str]:
        """Return field -> column, of those that are set."""
        single = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "option_columns"}
        several = {f"option_columns[{i}]": name for i, name in enumerate(self.option_columns)}
        return {field: column for field, column in (single | several).items() if column}


class Rows:
    """One split, read by its columns."""

    def __init__(
        self, loaded: Loaded, columns: ColumnsConfig, question: str | None, roots: list[ImageRoot], key: str
    ) -> None:
        """Check the columns.

        Args:
            loaded: the split.
            columns: which column holds what.
            question: asked of every row, where no column holds the question.
            roots: folders that images which a column names must lie in.
            key: `pool` or `task`, for messages.

        Raises:
            ValueError: the columns do not fit the data set or leave something out.
        """
        self.name, self._loaded = loaded.name, loaded
        self._columns, self._question, self._roots = columns, question, roots
        self.table = ArrowTable(loaded.files)
        if len(self.table) != loaded.num_rows:
            raise ValueError(
                f"{loaded.name} has {loaded.num_rows} rows, its Arrow files {len(self.table)}: name a whole split, and "
                "save a filtered data set anew (save_to_disk)"
            )
        _check_columns(columns, question, loaded, key)
        self._top = {column: _top_of(column, loaded.columns) for column in columns.set_columns().values()}
        self._classes = {column: loaded.classes.get(column) for column in self._top}

    def __len__(self) -> int:
        return len(self.table)

    def id(self, row: int) -> str:
        """Return the id of a row, whatever else is wrong with it. Raises RowError."""
        if self._columns.id is None:
            return f"{self._loaded.split}-{row:09d}"
        value = self._value(row, self._columns.id)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return text_field(value, self._columns.id, missing="no id")

    def question(self, row: int) -> Item:
        """Return a row with its options apart, as a task has it. Raises RowError."""
        item = self._read(row)
        return item if item.sample.options else item._replace(sample=as_task_sample(item.sample))

    def example(self, row: int) -> Item:
        """Return a row as a turn and a reply, as a pool has it. Raises RowError."""
        item = self._read(row)
        if not item.sample.options:
            return item
        return item._replace(sample=_inline(item.sample, bool(self._columns.answer)))

    def _read(self, row: int) -> Item:
        instruction, answer = self._turns(row)
        tokens = instruction.count(IMAGE_TOKEN)
        locator, name, _ = self._image(row)
        if tokens > 1:
            raise RowError("several images", "instruction", instruction, f"{tokens} image tokens, one picture a sample")
        if tokens and locator is None:
            raise RowError(
                "image missing", self._columns.image or "image", None, f"the text has an {IMAGE_TOKEN} token"
            )
        sample = Sample(
            id=self.id(row),
            instruction=text_field(instruction.replace(IMAGE_TOKEN, ""), "instruction", missing="no text"),
            answer=answer or "",
            image=locator,
            source=self._text(row, self._columns.source, "no text") if self._columns.source else "",
        )
        options = self._options(row)
        if options:
            gold = self._gold(row, options, answer)
            sample = replace(sample, options=options, gold=gold, answer=answer or options[gold])
        elif not answer:
            raise RowError("no answer", self._columns.answer or "answer", answer)
        return Item(sample, name)

    def _turns(self, row: int) -> tuple[str, str | None]:
        """Return the question, and the reply or None where only options tell it."""
        columns = self._columns
        if columns.conversations:
            return read_turns(_as_turns(self._value(row, columns.conversations)))
        question = self._text(row, columns.instruction, "no text") if columns.instruction else self._question
        return question or "", self._text(row, columns.answer, "no answer") if columns.answer else None

    def _options(self, row: int) -> tuple[str, ...]:
        columns = self._columns
        if columns.options:
            values = self._value(row, columns.options)
            if values is None:
                return ()
            if not isinstance(values, list):
                raise RowError("not a list", columns.options, values, "expected a list of texts")
        elif columns.option_columns:
            values = [self._value(row, column) for column in columns.option_columns]
            while values and values[-1] in (None, ""):
                values.pop()
        else:
            values = (self._classes.get(columns.gold) or []) if columns.gold else []
        if not values:
            return ()
        options = tuple(text_field(_plain(v), f"option {i}", missing="empty option") for i, v in enumerate(values))
        if not 2 <= len(options) <= len(LETTERS):
            raise RowError("number of options", "options", len(options), f"expected 2 to {len(LETTERS)}")
        if len({option.casefold() for option in options}) < len(options):
            raise RowError("duplicate options", "options", list(options))
        return options

    def _gold(self, row: int, options: Sequence[str], answer: str | None) -> int:
        key = self._columns.gold or self._columns.answer or "answer"
        value = self._value(row, self._columns.gold) if self._columns.gold else answer
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
            return value
        index = find_gold(value.strip(), options) if isinstance(value, str) and value.strip() else None
        if index is None:
            raise RowError("gold not among options", key, value, f"options {list(options)}")
        return index

    def _image(self, row: int) -> tuple[str | None, str, int]:
        """Return locator, name and bytes of the image; None, "" and 0 without one."""
        if not self._columns.image:
            return None, "", 0
        column = self._top[self._columns.image]
        image = image_in(self.table.scalar(row, column))
        if image is None:
            return None, "", 0
        if isinstance(image, str):
            file = _locate(image, self._roots)
            return file.path, file.name, file.size
        return self.table.locator(row, column), "", image.size

    def _text(self, row: int, column: str, missing: str) -> str:
        value = _plain(self._value(row, column))
        classes = self._classes.get(column)
        if classes and isinstance(self._value(row, column), int):
            value = classes[int(value)] if 0 <= int(value) < len(classes) else None
        return text_field(value, column, missing=missing)

    def _value(self, row: int, column: str) -> Any:
        top = self._top[column]
        value = self.table.scalar(row, top).as_py()
        for part in column[len(top) + 1 :].split(".") if column != top else ():
            value = value.get(part) if isinstance(value, dict) else None
        return value


def _inline(sample: Sample, has_answer: bool) -> Sample:
    """Put the options into the text, as Vision-Flan words them; the gold one is the answer, unless a column has one."""
    letters = LETTERS.lower()
    listed = " ".join(f"({letter}) {option}" for letter, option in zip(letters, sample.options, strict=False))
    answer = sample.answer if has_answer else f"({letters[sample.gold]}) {sample.options[sample.gold]}"
    text = f"{sample.instruction}\nOptions: {listed}"
    return replace(sample, instruction=text, answer=answer, options=(), gold=None)


def _as_turns(turns: Any) -> Any:
    """Turn {role, content} into {from, value}; content is text, or parts of type text and image."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) and "role" in turn for turn in turns):
        return turns
    return [{"from": turn["role"], "value": _content(turn.get("content"))} for turn in turns]


def _content(content: Any) -> Any:
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    texts = [IMAGE_TOKEN if part.get("type") == "image" else part.get("text") or "" for part in content]
    return "\n".join(text for text in texts if text)


def _plain(value: Any) -> Any:
    """Return a whole number, common where answers are counts, as its digits; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _top_of(column: str, columns: Sequence[str]) -> str:
    """Return the data set's column that a name leads into."""
    return column if column in columns else column.partition(".")[0]


def _check_columns(columns: ColumnsConfig, question: str | None, loaded: Loaded, key: str) -> None:
    for field, column in columns.set_columns().items():
        if _top_of(column, loaded.columns) not in loaded.columns:
            raise ValueError(f"{key}.columns.{field} is {column!r}: {loaded.name} has columns {loaded.columns}")
    sources = [bool(columns.conversations), bool(columns.instruction), bool(question)]
    if sum(sources) != 1:
        raise ValueError(
            f"{key}: set one of columns.conversations, columns.instruction and question; {loaded.name} has columns "
            f"{loaded.columns}"
        )
    if not (columns.conversations or columns.answer or columns.gold):
        raise ValueError(f"{key}: set columns.answer or columns.gold; {loaded.name} has columns {loaded.columns}")
    if columns.options and columns.option_columns:
        raise ValueError(f"{key}: set columns.options or columns.option_columns, not both")


def _locate(name: str, roots: Sequence[ImageRoot]) -> ImageFile:
    """Find a named image in the first root that holds it.

    An absolute name, as `datasets` writes it, must lead into one of the roots.
    """
    problem = RowError("image outside root", "image", name, "no folder to look in: set image_root")
    if re.match(r"[a-z0-9+]+://", name):
        raise RowError("image is a URL", "image", name, "pictures are read from files only")
    for root in roots:
        try:
            inside = Path(name).is_absolute() and Path(name).is_relative_to(root.root)
            return root.locate(str(Path(name).relative_to(root.root)) if inside else name)
        except RowError as bad:
            problem = bad
    raise problem
