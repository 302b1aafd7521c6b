"""The rows that one run went through, stage by stage: what the look-ups walk along.

A run of several iterations goes through the stages once a round. A round is named by the suffix of its stages: "" for
the first, "@2" for the
second. Results lie in the store; `stages.json` says where.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from delamo.records import Answer, ItemScore, Mistake, Sample, Selected, Skill
from delamo.reports.variants import PRETRAINED
from delamo.runs.read import Run
from delamo.store import read_rows

T = TypeVar("T")


def rounds(run: Run) -> list[str]:
    """The rounds in which the run selected samples; none for the pretrained student."""
    return [
        name.removeprefix("selection") for name in run.stages if name == "selection" or name.startswith("selection@")
    ]


def selection(run: Run, round: str = "") -> list[Selected]:
    """The samples of one round in rank order."""
    return _rows(run, Selected, f"selection{round}", "selection")


def selected_samples(run: Run, round: str = "") -> dict[str, Sample]:
    """Their texts, by id."""
    return {sample.id: sample for sample in _rows(run, Sample, f"selection{round}", "selected_samples")}


def validation_samples(run: Run) -> dict[str, Sample]:
    """By id."""
    return {sample.id: sample for sample in _rows(run, Sample, "task", "validation")}


def test_samples(run: Run) -> dict[str, Sample]:
    """By id."""
    return {sample.id: sample for sample in _rows(run, Sample, "task", "test")}


def answers(run: Run, round: str = "") -> dict[str, Answer]:
    """The student's replies to the validation samples before a round's tuning, by id.

    Empty for a selector that needs none.
    """
    return {answer.id: answer for answer in _rows(run, Answer, f"answers{round}", "answers")}


def answers_after(run: Run) -> dict[str, Answer]:
    """The tuned student's replies to them, by id; empty where it was not asked again."""
    return {answer.id: answer for answer in _rows(run, Answer, "answers_after", "answers")}


def mistakes(run: Run, round: str = "") -> dict[str, Mistake]:
    """By validation id."""
    return {mistake.id: mistake for mistake in _rows(run, Mistake, f"mistakes{round}", "mistakes")}


def skills(run: Run, round: str = "") -> dict[str, Skill]:
    """The missing skills, by validation id."""
    return {skill.val_id: skill for skill in _rows(run, Skill, f"skills{round}", "skills")}


def scores_before(run: Run, others: Iterable[Run] = ()) -> list[ItemScore]:
    """The untuned student's test items, where the run did not need them from a run among the others.

    None where neither has them.
    """
    own = _rows(run, ItemScore, "evaluation_before", "items")
    names = [run.cell[key] for key in ("task", "student")]
    untuned = (one for one in others if one.cell["selector"] == PRETRAINED)
    pretrained = next((one for one in untuned if [one.cell[key] for key in ("task", "student")] == names), None)
    return own or (pretrained.scores if pretrained else [])


def flips(run: Run, others: Iterable[Run] = ()) -> list[tuple[ItemScore, ItemScore]]:
    """The test items that tuning turned right or wrong, each before and after; `others` as in `scores_before`."""
    before = {score.id: score for score in scores_before(run, others)}
    pairs = [(before[score.id], score) for score in run.scores if score.id in before]
    return [(a, b) for a, b in pairs if (a.correct is True) != (b.correct is True)]


def _rows(run: Run, cls: type[T], stage: str, name: str) -> list[T]:
    """`NAME.jsonl` of a stage's result; none where the run had no such stage.

    Raises:
        ValueError: the run had the stage, and its result is no longer in the store.
    """
    if stage not in run.stages:
        return []
    path = Path(run.stages[stage]["path"]) / f"{name}.jsonl"
    if not path.is_file():
        where = run.path / "stages.json"
        raise ValueError(f"{where} refers to {path}, which is gone: run the cell again with force=true")
    return _read(cls, path)  # type: ignore[arg-type]  # mypy does not take a class for hashable


@lru_cache(maxsize=64)
def _read(cls: type[T], path: Path) -> list[T]:
    """Cells share stage results: each file is parsed once."""
    return read_rows(cls, path)
