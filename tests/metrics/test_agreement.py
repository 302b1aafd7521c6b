"""Agreement of mistake steps and of named skills, against values worked out by hand."""

from __future__ import annotations

import pytest

from delamo.metrics.agreement import skill_overlap, step_agreement


def words(**skills: str) -> dict[str, frozenset[str]]:
    return {error: frozenset(skill.split()) for error, skill in skills.items()}


def test_recall_looks_three_steps_back_and_never_ahead():
    found = {"a": 4, "b": 4, "c": 4, "d": 4, "no step": None, "no gold": 1, "not annotated": 2}
    gold = {"a": 4, "b": 1, "c": 0, "d": 5, "no step": 1, "no gold": None}
    assert step_agreement(found, gold) == {"accuracy": 1 / 5, "recall_at_3": 2 / 5, "found": 4 / 5, "n": 5}
    assert step_agreement({"a": 1}, {"a": None}) is None


def test_an_error_without_a_found_step_is_a_miss():
    """One step named, and that one right, is one of three."""
    found = step_agreement({"a": 2, "b": None, "c": None}, {"a": 2, "b": 0, "c": 1})
    assert found == {"accuracy": 1 / 3, "recall_at_3": 1 / 3, "found": 1 / 3, "n": 3}


def test_two_skills_overlap_by_their_words():
    first = words(a="compare the sizes", b="count circles", c="read a digit", x="only here")
    second = words(a="the sizes compare", b="count red shapes", c="tell parity")
    assert skill_overlap(first, second) == {"same": 1 / 3, "overlap": pytest.approx((1 + 2 / 5 + 0) / 3), "n": 3}
    assert skill_overlap(first, words(z="count")) is None
