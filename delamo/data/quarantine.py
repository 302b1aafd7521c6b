"""Rows that cannot be used: why, where they are, and how many of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from delamo.records import Quarantined

MAX_SHOWN = 200
"""Characters of an offending value that a message repeats; a base64 image would otherwise fill the report."""


class RowError(ValueError):
    """One row of an input file cannot be used.

    Raised by the functions that read a field and caught by the reader, which goes on with the next row.
    """

    def __init__(self, reason: str, key: str, value: Any, hint: str = "") -> None:
        """Make the error of one field.

        Args:
            reason: short and countable.
            key: of the offending field.
            value: of the offending field.
            hint: what was expected.
        """
        super().__init__(f"{reason}: {key} = {shorten(value)}" + (f" ({hint})" if hint else ""))
        self.reason = reason


class UnusableError(ValueError):
    """A sample or its image cannot be used: `reason` is short and countable, `detail` says what and where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self):  # crosses the process border of a loader's worker
        return type(self), (self.reason, self.detail)


def quarantined(bad: RowError, *, id: str | None, stage: str, file: Path, record: int) -> Quarantined:
    """Make the row for `quarantine.jsonl` and the report.

    A row whose id could not be read is called `FILE#RECORD`; `record` counts from 1.
    """
    detail = f"{file}, record {record}: {bad}"
    return Quarantined(id=id or f"{file.name}#{record}", stage=stage, reason=bad.reason, detail=detail)


def count_reasons(rows: Iterable[Quarantined]) -> dict[str, int]:
    """Count the rows of each reason, the most frequent first, equal counts in alphabetical order."""
    counts = Counter(row.reason for row in rows)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def held_back(rows: Sequence[Quarantined]) -> str:
    """Return the end of a message about too few rows: how many are quarantined, and the first; empty for none."""
    return f"; {len(rows)} quarantined, the first: {rows[0].id}: {rows[0].detail}" if rows else ""


def shorten(value: Any) -> str:
    """Return a value as Python would print it, cut to `MAX_SHOWN` characters with its full length told."""
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}... ({len(shown)} characters)"


def text_field(value: Any, key: str, *, missing: str) -> str:
    """Return the value of a text field, without white space at its ends.

    Raises:
        RowError: `missing` where the field is absent or blank; `not text` where it holds a number, a list, ...;
            `not Unicode` where it holds half of a surrogate pair, which JSON can carry and no UTF-8 file can.
    """
    if value is None:
        raise RowError(missing, key, value)
    if not isinstance(value, str):
        raise RowError("not text", key, value, f"expected text, found {type(value).__name__}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RowError("not Unicode", key, value.encode("ascii", "backslashreplace").decode("ascii"))
    if not value.strip():
        raise RowError(missing, key, value)
    return value.strip()
