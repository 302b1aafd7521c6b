"""Read the rows that one run went through, stage by stage.

A run of several iterations goes through the stages once a round. A round is named by the suffix of its stages: "" for
the first, "@2" for the second. Results lie in the store; `stages.json` says where.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from delamo.records import Answer, ItemScore, Mistake, Sample, Selected, Skill
from delamo.runs.read import Run
from delamo.store import read_rows

T = TypeVar("T")


def rounds(run: Run) -> list[str]:
    """Name the rounds in which the run selected samples; none for the pretrained student."""
    return [
        name.removeprefix("selection") for name in run.stages if name == "selection" or name.startswith("selection@")
    ]


def selection(run: Run, round: str = "") -> list[Selected]:
    """Read the selection of one round in rank order."""
    return _rows(run, Selected, f"selection{round}", "selection")


def selected_samples(run: Run, round: str = "") -> dict[str, Sample]:
    """Read the selected samples of one round, by id."""
    return {sample.id: sample for sample in _rows(run, Sample, f"selection{round}", "selected_samples")}


def validation_samples(run: Run) -> dict[str, Sample]:
    """Read the task's validation samples, by id."""
    return {sample.id: sample for sample in _rows(run, Sample, "task", "validation")}


def test_samples(run: Run) -> dict[str, Sample]:
    """Read the task's test samples, by id."""
    return {sample.id: sample for sample in _rows(run, Sample, "task", "test")}


def answers(run: Run, round: str = "") -> dict[str, Answer]:
    """The student's replies to the validation samples before a round's tuning, by id.

    Empty for a selector that needs none.
    """
    return {answer.id: answer for answer in _rows(run, Answer, f"answers{round}", "answers")}


def answers_after(run: Run) -> dict[str, Answer]:
    """Read the tuned student's answers to the validation samples, by id; empty where it was not asked again."""
    return {answer.id: answer for answer in _rows(run, Answer, "answers_after", "answers")}


def mistakes(run: Run, round: str = "") -> dict[str, Mistake]:
    """Read the mistakes of one round, by validation id."""
    return {mistake.id: mistake for mistake in _rows(run, Mistake, f"mistakes{round}", "mistakes")}


def skills(run: Run, round: str = "") -> dict[str, Skill]:
    """Read the missing skills of one round, by validation id."""
    return {skill.val_id: skill for skill in _rows(run, Skill, f"skills{round}", "skills")}


def scores_before(run: Run, others: Iterable[Run] = ()) -> list[ItemScore]:
    """Read the untuned student's test items.

    Args:
        run: of the tuned student.
        others: runs among which the pretrained student's is looked for, where this run has not kept the items.

    Returns:
        The items; none where neither has them.
    """
    own = _rows(run, ItemScore, "evaluation_before", "items")
    names = [run.cell[key] for key in ("task", "student")]
    untuned = (other for other in others if other.is_pretrained)
    pretrained = next((other for other in untuned if [other.cell[key] for key in ("task", "student")] == names), None)
    return own or (pretrained.scores if pretrained else [])


def flips(run: Run, others: Iterable[Run] = ()) -> list[tuple[ItemScore, ItemScore]]:
    """Pair the test items that tuning turned right or wrong, each before and after.

    Args:
        run: of the tuned student.
        others: runs among which the pretrained student's is looked for, where this run has not kept the items.
    """
    before = {score.id: score for score in scores_before(run, others)}
    pairs = [(before[score.id], score) for score in run.scores if score.id in before]
    return [(a, b) for a, b in pairs if (a.correct is True) != (b.correct is True)]


def _rows(run: Run, cls: type[T], stage: str, name: str) -> list[T]:
    """Read `NAME.jsonl` of a stage's result; no rows where the run had no such stage.

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
    """Read a file once for all runs that share it."""
    return read_rows(cls, path)
