"""Usage of a teacher: calls, tokens and, where it is paid, US dollars."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.store import write_json


@dataclass(slots=True, kw_only=True)
class Usage:
    """A count of the teacher's work; completions that were there already cost nothing and count as `cached` alone."""

    calls: int = 0
    """Prompts answered, failed attempts among them; each prefix of a rationale is one."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0
    """None where a call's price is unknown; 0 for a model of one's own."""
    cached: int = 0
    """Completions taken from the transcripts of earlier calls."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            usd=None if self.usd is None or other.usd is None else self.usd + other.usd,
            cached=self.cached + other.cached,
        )

    def since(self, earlier: Usage) -> Usage:
        """Subtract an earlier count of the same teacher."""
        unknown = self.usd is None or earlier.usd is None
        return Usage(
            calls=self.calls - earlier.calls,
            prompt_tokens=self.prompt_tokens - earlier.prompt_tokens,
            completion_tokens=self.completion_tokens - earlier.completion_tokens,
            usd=None if unknown else self.usd - earlier.usd,
            cached=self.cached - earlier.cached,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return dataclasses.asdict(self)


class UsageMeter:
    """Measure what a teacher uses for one stage, over all attempts at it.

    Args:
        teacher: None uses nothing.
        file: keeps the total between attempts; None where a stage has one attempt.
    """

    def __init__(self, teacher: Any, file: Path | None = None) -> None:
        self._teacher, self._file = teacher, file
        known = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}
        self._before = Usage(**known)
        self._start = self._now()

    def total(self) -> dict[str, Any]:
        """Return the usage so far, as it stands in the stage's manifest."""
        return (self._before + self._now().since(self._start)).to_dict()

    def save(self) -> None:
        """Write the total, so that the next attempt goes on counting from it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file, self.total())

    def _now(self) -> Usage:
        return (self._teacher.usage if self._teacher else Usage()) + Usage()  # a copy: a teacher counts in place
