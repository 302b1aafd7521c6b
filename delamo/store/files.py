"""Files that a reader sees whole or not at all, rows of records, digests and names."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from delamo.records import from_json, to_json

T = TypeVar("T")


def digest_of(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, 64 hex digits.

    Raises:
        TypeError: JSON cannot hold the value.
        ValueError: it holds a NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slug(text: str) -> str:
    """Make `text` part of a file name: anything but letters, digits and ._+- becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_") or "_"


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, and a power cut leaves one of them."""
    write_parts(path, [text])


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """Write a file from a stream of text; see `write_text`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_path(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; see `write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write records as JSON lines."""
    write_parts(path, (to_json(row) + "\n" for row in rows))


def read_rows(cls: type[T], path: Path) -> list[T]:
    """Read what `write_rows` wrote. Raises ValueError, naming file and line, for a row that is not a `cls`."""
    return list(iterate_rows(cls, path))


def iterate_rows(cls: type[T], path: Path) -> Iterator[T]:
    """Read what `write_rows` wrote, row by row; see `read_rows`."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield from_json(cls, line)
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{path}:{number} is not a {cls.__name__} ({error}): delete {path.parent} and run again"
                ) from error


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_path(Path(parent) / name)
        sync_path(Path(parent))


def sync_path(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
