"""What crosses a stage border. Plain, frozen, JSON-serialisable values; no behaviour beyond (de)serialising.

Every stage reads and writes these, so a row on disk is a row in memory: `to_json(answer)` is one JSON line and
`from_json(Answer, line)` gives the same value back.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

FILL = "fill"
"""Reason of a sample that was drawn at random because what a selector goes by found too few."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question about at most one picture: a row of a pool, or of a task's validation or test set.

    In a task, `instruction` is the bare question and `options` are kept apart, because the teacher and the parser need
    them. In a pool, `instruction` is the whole user turn as the data set words it (options inline) and `answer` the
    whole reply that tuning imitates.
    """

    id: str
    instruction: str
    answer: str
    """Pool: the reply to imitate. Task: the text of the gold answer."""
    options: tuple[str, ...] = ()
    """Option texts without letters; empty when the question is not multiple-choice."""
    gold: int | None = None
    """Index of the gold answer in `options`; None when the question is not multiple-choice."""
    image: str | None = None
    """Locator of the picture: an absolute path, or `scheme:...` that `delamo.data.images.open_image` understands."""
    source: str = ""
    """Name of the task or family inside the data set (Vision-Flan's `task_name`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A row that could not be used, and why. Counted in the report; never dropped in silence."""

    id: str
    stage: str
    reason: str
    """Short and countable: `image missing`, `no text`, `duplicate id`, `gold not among options`, `too long`, ..."""
    detail: str = ""
    """File, line, key and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A pool sample that overlaps a validation or test sample; it cannot be selected unless it is an `equal scene`."""

    pool_id: str
    sample_id: str
    split: str
    """`validation` or `test`."""
    kind: str
    """`picture`, `picture name`, `near picture`, `text` or `equal scene`; see `delamo.data.leakage`."""
    distance: int
    """Bits between the difference hashes of near pictures; 0 for the other kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The student's reply to one sample, read by rule."""

    id: str
    text: str
    """The whole reply, rationale and final answer, as generated."""
    rationale: str
    """The part of `text` before the final-answer phrase; all of it where there is no such phrase."""
    prediction: str | None
    """The option letter (`"B"`) or, when the question is not multiple-choice, the answer's text; None if unparsed."""
    correct: bool | None
    """None when unparsed: unparsed is not wrong."""
    num_tokens: int
    """Tokens generated."""
    truncated: bool = False
    """The reply stopped at the token limit, not at an end-of-sequence token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Where one wrong rationale went wrong (paper, section 3.3)."""

    id: str
    """Id of the validation sample."""
    question: str
    options: tuple[str, ...]
    """The options the teacher chose between; two for a question that was not multiple-choice."""
    gold: int
    """Index into `options`."""
    wrong: int | None
    """Index into `options` of the student's answer; None when the answer was unparsed."""
    steps: tuple[str, ...]
    """The rationale cut into steps; `"".join(steps)` gives the rationale back character for character."""
    probabilities: tuple[tuple[float, ...], ...]
    """(num_steps + 1, num_options): row i is the teacher's distribution after r1..ri, row 0 before any step."""
    outside_mass: tuple[float, ...]
    """(num_steps + 1,): probability outside all the options, before renormalising."""
    step: int | None
    """0-based index into `steps` of the mistake step; None where no step qualified and no fallback was allowed."""
    fallback: bool
    """True where no step met the margin and `step` is the one with the largest gap."""
    unparsed: bool = False
    """True where the student's answer could not be parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """The missing skill that the teacher named for one error (paper, section 3.4)."""

    val_id: str
    skill: str
    step: int | None
    """The mistake step that it was named for."""
    echo: bool = False
    """Whether it repeats a demonstration of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSkills:
    """The skills that the teacher says one pool sample needs."""

    id: str
    skills: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One pool sample chosen for tuning, and what brought it in."""

    id: str
    rank: int
    """0-based position in the selection."""
    score: float | None = None
    """The selector's score (BM25 for `error_driven`); None where the selector has none."""
    skill: str | None = None
    val_id: str | None = None
    matched_terms: tuple[str, ...] = ()
    """Query terms that occur in the sample's document."""
    reason: str = ""
    """`retrieved`, `random`, `fill`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScore:
    """One test item's outcome: what a paired test needs."""

    id: str
    text: str
    prediction: str | None
    gold: str
    """The gold letter, or the gold text when the question is not multiple-choice."""
    parsed: bool
    correct: bool | None
    """None when unparsed; every accuracy counts it as not correct and reports the unparsed rate beside it."""


def to_dict(record: Any) -> dict[str, Any]:
    """The record as a dict of JSON values."""
    return dataclasses.asdict(record)


def to_json(record: Any) -> str:
    """The record as one line of JSON, keys in field order."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False)


def from_dict(cls: type[T], row: dict[str, Any]) -> T:
    """Invert `to_dict`: lists become tuples again; an unknown key raises TypeError."""
    return cls(**{_RENAMED.get(key, key): _freeze(value) for key, value in row.items()})


_RENAMED = {"error_id": "val_id"}
"""Field names in files written before a field was renamed."""


def from_json(cls: type[T], line: str) -> T:
    """The inverse of `to_json`."""
    return from_dict(cls, json.loads(line))


def _freeze(value: Any) -> Any:
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value
