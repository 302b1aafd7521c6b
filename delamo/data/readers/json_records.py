"""JSON annotation files: records of an array or of JSON lines, one at a time, and objects of lists.

The full Vision-Flan annotation is one array of 983 MB: parsed at once it takes several GB. Here one window of the file
is in memory, and a record can be read again by its offset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

WINDOW = 1 << 20
"""Characters read at a time."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it stands."""

    number: int
    """1-based: the position in the array, or the line number."""
    offset: int
    """Bytes from the start of the file."""
    length: int
    """Bytes."""
    value: Any
    """The parsed JSON value; the raw text where `error` is set."""
    error: str = ""
    """Why the line is not JSON; empty for a good one. Only lines can be skipped: a broken array raises."""


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of `path` in file order: a JSON array, or else JSON lines (told by the first character).

    Raises:
        FileNotFoundError: no such file.
        ValueError: an array that is cut off or is not JSON, or a file that is neither; the message names the file, the
            record and the byte.
    """
    with path.open("rb") as file:
        head = file.read(WINDOW)
        first = head.removeprefix(BOM).lstrip()[:1]
        if first == b"[":
            yield from _array_records(path, len(BOM) if head.startswith(BOM) else 0)
        elif first == b"{":
            file.seek(0)
            yield from _line_records(path, file)
        else:
            raise ValueError(f"{path} starts with {first!r}: expected a JSON array of records, or one record a line")


def read_at(file: BinaryIO, offset: int, length: int) -> Any:
    """The JSON value that `read_records` found at `offset`. Raises ValueError where the file has changed since."""
    file.seek(offset)
    return json.loads(file.read(length))


def read_lists(path: Path, *keys: str, example: str) -> dict[str, list[Any]]:
    """Read a JSON file that is one object of lists, as COCO and Visual7W publish their annotations.

    Args:
        path: of the task's annotation file.
        keys: the lists that are needed.
        example: what the file is called where it is published, for messages.

    Returns:
        The lists by key.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, or a list that it lacks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"task.annotation is {path}: no such file ({example})")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as problem:
        raise ValueError(f"{path} is not JSON: {problem}") from problem
    for key in keys:
        if not isinstance(value, dict) or not isinstance(value.get(key), list):
            raise ValueError(f"{path} has no list {key!r}: expected the format of {example}")  # noqa: TRY004
    return {key: value[key] for key in keys}


def _line_records(path: Path, file: BinaryIO) -> Iterator[Record]:
    offset, good = 0, 0
    for number, line in enumerate(file, start=1):
        start, offset = offset, offset + len(line)
        body = line.removeprefix(BOM) if number == 1 else line
        if not body.strip():
            continue
        try:
            value, error = json.loads(body), ""
            good += 1
        except (ValueError, RecursionError) as problem:
            value, error = body.decode("utf-8", "replace").rstrip(), f"{type(problem).__name__}: {problem}"
        yield Record(number, start + len(line) - len(body), len(body), value, error)
    if not good:
        raise ValueError(f"{path}: no line is a JSON record; expected a JSON array of records, or one record a line")


def _array_records(path: Path, start: int) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        window = _Window(path, file, start)
        window.expect("[", record=1)
        number = 0
        while window.peek() != "]":
            if number:
                window.expect(",", record=number + 1)
                window.peek()
            number += 1
            offset = window.offset
            value = window.value(number)
            yield Record(number, offset, window.offset - offset, value)
        window.expect("]", record=number + 1)
        if window.peek():
            raise window.broken(number, "text after the end of the array")


class _Window:
    """The part of a text file that is being parsed; `offset` is the byte at which parsing stands."""

    def __init__(self, path: Path, file: TextIO, offset: int) -> None:
        self.path, self.file, self.offset = path, file, offset
        self.text, self.at, self.at_end = "", 0, False
        self.decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Skip white space; the next character, or "" at the end of the file."""
        while True:
            rest = len(self.text)
            at = self.at
            while at < rest and self.text[at] in " \t\r\n":
                at += 1
            self._advance(at)
            if at < rest or self.at_end:
                return self.text[at : at + 1]
            self._fill()

    def expect(self, character: str, *, record: int) -> None:
        """Pass over one character of punctuation."""
        found = self.peek()
        if found != character:
            raise self.broken(record, f"expected {character!r}, found {found or 'the end of the file'!r}")
        self._advance(self.at + 1)

    def value(self, record: int) -> Any:
        """Parse one JSON value, reading on as far as it reaches."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except RecursionError:
                raise self.broken(record, "nested too deeply") from None
            except json.JSONDecodeError as problem:
                if self.at_end or not _may_be_cut(problem, len(self.text)):
                    raise self.broken(record, problem.msg) from None
            else:
                # a number may go on in the next window ("1" of "1e+5"); anything else ends where it ends
                if self.at_end or end + 3 <= len(self.text):
                    self._advance(end)
                    return value
            self._fill()

    def broken(self, record: int, why: str) -> ValueError:
        """The error for a file that cannot be parsed any further."""
        return ValueError(f"{self.path}: record {record} is not valid JSON: {why} (in the value at byte {self.offset})")

    def _advance(self, to: int) -> None:
        self.offset += len(self.text[self.at : to].encode("utf-8"))
        self.at = to

    def _fill(self) -> None:
        more = self._read(max(WINDOW, len(self.text) - self.at))
        self.text, self.at, self.at_end = self.text[self.at :] + more, 0, not more

    def _read(self, size: int) -> str:
        try:
            return self.file.read(size)
        except UnicodeDecodeError as problem:
            raise ValueError(f"{self.path} is not UTF-8: {problem.reason}, after byte {self.offset}") from None


def _may_be_cut(problem: json.JSONDecodeError, end: int) -> bool:
    """Whether the error may only say that the window ends inside the value (a literal has at most 12 characters)."""
    return problem.msg.startswith("Unterminated string") or problem.pos >= end - 12
