"""Planted metrics: each stage against the microworld's truth. The one reader of `microworld.truth`.

For any other task or pool every value is None: there is no planted truth to compare with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from delamo.data.microworld import truth
from delamo.metrics.agreement import step_agreement
from delamo.records import ItemScore, Mistake, Sample, Selected, Skill

_SCHEME = "micro:"


def missing_skills(student_dir: Path) -> frozenset[str] | None:
    """Read the skills that were left out of a student's pretraining from the recipe beside its weights.

    Returns:
        The skills; None where there is no recipe.
    """
    recipe = student_dir / "recipe.json"
    return frozenset(json.loads(recipe.read_text())["missing"]) if recipe.is_file() else None


def measure(
    *,
    missing: frozenset[str] | None,
    validation: Sequence[Sample],
    test: Sequence[Sample],
    before: Sequence[ItemScore],
    after: Sequence[ItemScore],
    selected: Sequence[Selected] = (),
    selected_samples: Sequence[Sample] = (),
    mistakes: Sequence[Mistake] = (),
    skills: Sequence[Skill] = (),
) -> dict[str, Any]:
    """Compute all planted metrics of one run.

    Args:
        missing: planted skills that the student lacks; None where that is not known.
        validation: samples of the task.
        test: samples of the task.
        before: the pretrained student's test items.
        after: the tuned student's test items.
        selected: what was selected, in all iterations.
        selected_samples: the pool samples of `selected`.
        mistakes: the mistake steps of the errors.
        skills: the skills that the teacher named for the errors.

    Returns:
        `precision_at_n`: share of the selected samples that need a missing skill which the target asks for.
        `precision_any`: share that need any missing skill.
        `mistake_step`: {accuracy, recall_at_3, n} against the first false sentence in the scene (paper, Table 7).
        `skill_agreement`: {accuracy, n}: the named skill is a missing one that the question needs (any needed one
        where the student lacks none of them).
        `by_skill`: test accuracy before and after over the items that need a skill: gain where it was missing,
        forgetting where it was not.
    """
    wanted = {skill for sample in test for skill in _needed(sample)}
    return {
        "precision_at_n": _precision(selected_samples, (missing or frozenset()) & wanted) if missing else None,
        "precision_any": _precision(selected_samples, missing) if missing else None,
        "mistake_step": _mistake_step(mistakes, _locators(validation)),
        "skill_agreement": _skill_agreement(skills, _locators(validation), missing),
        "by_skill": _by_skill(test, before, after, missing or frozenset()),
    }


def _planted(sample: Sample) -> bool:
    return (sample.image or "").startswith(_SCHEME)


def _needed(sample: Sample) -> tuple[str, ...]:
    return truth.skills_of(sample.image) if sample.image and _planted(sample) else ()


def _locators(samples: Iterable[Sample]) -> dict[str, str]:
    return {sample.id: sample.image for sample in samples if sample.image and _planted(sample)}


def _precision(samples: Sequence[Sample], wanted: frozenset[str]) -> float | None:
    if not samples or not any(map(_planted, samples)) or not wanted:
        return None
    return sum(not wanted.isdisjoint(_needed(sample)) for sample in samples) / len(samples)


def _mistake_step(mistakes: Sequence[Mistake], locators: Mapping[str, str]) -> dict[str, float] | None:
    known = [mistake for mistake in mistakes if mistake.id in locators]
    gold = {mistake.id: truth.first_false_step(locators[mistake.id], mistake.steps) for mistake in known}
    return step_agreement({mistake.id: mistake.step for mistake in known}, gold)


def _skill_agreement(
    skills: Sequence[Skill], locators: Mapping[str, str], missing: frozenset[str] | None
) -> dict[str, float] | None:
    hits = []
    for skill in skills:
        if skill.val_id in locators:
            needed = set(truth.skills_of(locators[skill.val_id]))
            hits.append(truth.planted_skill(skill.skill) in (needed & (missing or needed) or needed))
    return {"accuracy": sum(hits) / len(hits), "n": len(hits)} if hits else None


def _by_skill(
    test: Sequence[Sample], before: Sequence[ItemScore], after: Sequence[ItemScore], missing: frozenset[str]
) -> dict[str, dict[str, Any]]:
    """Compute accuracy by skill; an item counts for its first missing skill, or else for the first that it needs."""
    right_before = {item.id: bool(item.correct) for item in before}
    right_after = {item.id: bool(item.correct) for item in after}
    rows: dict[str, list[str]] = {}
    for sample in test:
        needed = _needed(sample)
        if needed and sample.id in right_before and sample.id in right_after:
            rows.setdefault(next((s for s in needed if s in missing), needed[0]), []).append(sample.id)
    return {
        skill: {
            "n": len(ids),
            "before": sum(right_before[i] for i in ids) / len(ids),
            "after": sum(right_after[i] for i in ids) / len(ids),
            "missing": skill in missing,
        }
        for skill, ids in sorted(rows.items())
    }
