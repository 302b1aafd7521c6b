"""Every way to find a mistake step: what each asks, what it finds, and what comes of samples that cannot be judged."""

from __future__ import annotations

import json

import pytest
from support.configs import node

from delamo.mistakes import FINDERS, ErrorCase
from delamo.mistakes.annotated import AnnotatedConfig
from delamo.models.teachers.base import OptionScores, Refusal
from delamo.stages.skills import name_needed_skills, name_skills, quote_mistakes

STEPS = "One. Two. Three. Four."
EXTRA = {"path": "steps.jsonl"}


def find(choice, cases, teacher, **changes):
    if choice == "annotated":
        config = AnnotatedConfig(**changes)  # its YAML file names no file
    else:
        config = node("mistakes", choice, **changes)
    return FINDERS[type(config)].find(cases, teacher, config)


class Scripted:
    """A teacher that says what it is told, and keeps what it was asked."""

    prompts = "micro"
    sees_images = False

    def __init__(self, scores=(), replies=()):
        self.scores, self.replies, self.asked, self.completed = list(scores), list(replies), [], []

    def option_probabilities(self, prompts):
        self.asked += prompts
        return [self.scores.pop(0) for _ in prompts]

    def complete(self, prompts, *, max_new_tokens, images=None):
        self.completed += prompts
        return [self.replies.pop(0) for _ in prompts]


def verdicts(*no):
    """P(no) after 0 .. n steps; before any step it is certain of `no`, which must not count."""
    return OptionScores(tuple((1 - p, p) for p in (1.0, *no)), (0.0,) * (len(no) + 1))


def case(**changes):
    fields = {"id": "v1", "question": "Which?", "options": ("gold", "bad"), "gold": 0, "answer": "gold", "wrong": "B"}
    return ErrorCase(**{**fields, "rationale": STEPS, **changes})


@pytest.mark.parametrize(
    ("no", "fallback", "step", "fell_back"),
    [
        ((0.1, 0.6, 0.2, 0.9), True, 1, False),
        ((0.1, 0.5, 0.4, 0.2), True, 1, True),  # even is no verdict; the largest doubt is marked
        ((0.1, 0.3, 0.3, 0.2), True, 1, True),  # ties go to the earliest
        ((0.1, 0.3, 0.4, 0.2), False, None, False),
    ],
)
def test_prompt_per_step_takes_the_first_step_called_wrong(no, fallback, step, fell_back):
    teacher = Scripted([verdicts(*no)])
    [found], bad = find("prompt_per_step", [case()], teacher, fallback=fallback)
    assert (found.step, found.fallback, bad) == (step, fell_back, [])
    [prompt] = teacher.asked
    assert prompt.num_options == 2 and prompt.tail.endswith("The answer is option")
    assert "prior" not in (prompt.head + prompt.tail).lower()  # it is not told the gold answer


def test_pseudo_rationale_compares_with_a_reference_of_its_own():
    teacher = Scripted([verdicts(0.2, 0.2, 0.8, 0.8)], [" Because of that. "])
    [found], bad = find("pseudo_rationale", [case()], teacher)
    assert (found.step, found.fallback, bad) == (2, False, [])
    assert "Answer: gold" in teacher.completed[0]
    assert "Reference: Because of that.\n" in teacher.asked[0].head


def test_without_a_reference_there_is_nothing_to_compare():
    teacher = Scripted([], ["  ", Refusal("too long", "900 tokens")])
    found, bad = find("pseudo_rationale", [case(), case(id="v2")], teacher)
    assert not found and not teacher.asked
    assert [(row.id, row.reason) for row in bad] == [("v1", "no reference"), ("v2", "too long")]


def test_a_refused_comparison_is_set_aside():
    found, bad = find("pseudo_rationale", [case()], Scripted([Refusal("too long", "")], ["Because."]))
    assert not found and bad[0].reason == "too long"
    found, bad = find("prompt_per_step", [case()], Scripted([Refusal("too long", "")]))
    assert not found and bad[0].reason == "too long"


def test_a_random_step_depends_on_seed_and_id_alone():
    cases = [case(id=f"v{number}") for number in range(200)]
    drawn = {row.id: row.step for row in find("random", cases, None, seed=1)[0]}
    assert set(drawn.values()) == {0, 1, 2, 3}
    assert {row.id: row.step for row in find("random", cases[::-7], None, seed=1)[0]}.items() <= drawn.items()
    assert drawn != {row.id: row.step for row in find("random", cases, None, seed=2)[0]}


def test_annotated_steps_come_from_the_file(tmp_path):
    file = tmp_path / "steps.jsonl"
    rows = [{"id": "v1", "step": 2}, {"id": "v2", "step": -1}, {"id": "v3", "step": None}, {"id": "v4", "step": 4}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, bad = find("annotated", [case(id=f"v{number}") for number in range(1, 6)], None, path=str(file))
    assert [(row.id, row.step) for row in found] == [("v1", 2), ("v2", None), ("v3", None)]
    assert [(row.id, row.reason) for row in bad] == [("v4", "no such step"), ("v5", "not annotated")]


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": "v1"}', '{"id": "v1", "step": "first"}'])
def test_a_line_that_is_no_annotation_names_file_and_line(tmp_path, line):
    file = tmp_path / "steps.jsonl"
    file.write_text('{"id": "v0", "step": 0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"steps\.jsonl:2: "):
        find("annotated", [case()], None, path=str(file))


@pytest.mark.parametrize(
    "choice",
    [finder.name.removesuffix("_step") if finder.name == "random_step" else finder.name for finder in FINDERS.values()],
)
def test_every_finder_sets_aside_what_cannot_be_judged(choice, tmp_path):
    (tmp_path / "steps.jsonl").write_text("")
    extra = {"path": str(tmp_path / "steps.jsonl")} if choice == "annotated" else {}
    cases = [case(rationale=" "), case(id="v2", gold=7)]
    found, bad = find(choice, cases, Scripted(), **extra)
    assert not found
    assert [(row.id, row.reason) for row in bad] == [("v1", "empty rationale"), ("v2", "gold not among options")]


def test_an_open_question_has_its_gold_answer_as_only_option():
    [found], _ = find("whole_rationale", [case(options=(), gold=None, wrong="seven", answer="four")], None)
    assert (found.options, found.gold, found.wrong, found.step) == (("four",), 0, None, None)


def test_skill_analysis_without_a_step_reads_the_whole_rationale():
    mistakes, _ = find("whole_rationale", [case()], None)
    teacher = Scripted(replies=["count"])
    [skill], _ = name_skills(mistakes, teacher, max_new_tokens=8)
    assert "Mistake:" not in teacher.completed[0] and STEPS in teacher.completed[0]
    assert (skill.skill, skill.step) == ("count", None)


def test_mistake_steps_as_queries_ask_no_teacher():
    mistakes, _ = find("random", [case()], None, seed=0)
    unknown, _ = find("whole_rationale", [case(id="v2")], None)
    quoted, bad = quote_mistakes([*mistakes, *unknown])
    assert [(row.val_id, row.skill) for row in quoted] == [("v1", mistakes[0].steps[mistakes[0].step].strip())]
    assert [(row.id, row.reason) for row in bad] == [("v2", "no mistake step")]


def test_all_samples_are_asked_like_pool_samples(sample):
    teacher = Scripted(replies=["tell colours; count", ""])
    asked = [sample(id="v1", options=("red", "blue"), gold=1, answer="blue"), sample(id="v2")]
    skills, bad = name_needed_skills(asked, teacher, max_new_tokens=8)
    assert [(row.val_id, row.skill) for row in skills] == [("v1", "tell colours; count")]
    assert "Options: (A) red (B) blue" in teacher.completed[0] and "Response: blue" in teacher.completed[0]
    assert [(row.id, row.stage) for row in bad] == [("v2", "skills")]


@pytest.fixture
def sample():
    from delamo.records import Sample

    return lambda **fields: Sample(**{"instruction": "What is it?", "answer": "four", **fields})
