"""A JSON file that is one object of lists, as COCO and Visual7W publish their annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_lists(path: Path, *keys: str, example: str) -> dict[str, list[Any]]:
    """The lists of a task's annotation file, by key.

    Args:
        example: what the file is called where it is published, for messages.

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
