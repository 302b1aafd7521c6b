"""Answer switch on hand-made probability tables: every trap of the definition has its case."""

import pytest
from support.configs import node

from delamo.mistakes.answer_switch import Window, lead_of_wrong, mistake_step
from delamo.mistakes.answer_switch import find as find_by_config
from delamo.mistakes.base import ErrorCase
from delamo.models.teachers.base import OptionScores, Refusal

STEPS = "One. Two. Three. Four."


def find(cases, teacher, **changes):
    return find_by_config(cases, teacher, node("mistakes", "answer_switch", **changes))


class Scripted:
    """A teacher that says what it is told: one row of probabilities for each prefix."""

    prompts = "micro"

    def __init__(self, *results):
        self.results, self.asked = list(results), []

    def option_probabilities(self, prompts):
        self.asked += prompts
        return [self.results.pop(0) for _ in prompts]


def scores(*leads):
    """Two options, gold first: rows with the given P(wrong) - P(gold)."""
    return OptionScores(tuple(((1 - lead) / 2, (1 + lead) / 2) for lead in leads), (0.0,) * len(leads))


def case(**changes):
    fields = {"id": "v1", "question": "Which?", "options": ("gold", "bad"), "gold": 0, "answer": "gold", "wrong": "B"}
    return ErrorCase(**{**fields, "rationale": STEPS, **changes})


@pytest.mark.parametrize(
    ("leads", "persistence", "window", "step"),
    [
        ((-0.5, -0.5, 0.3, 0.4, 0.5), 12, Window.inclusive, (1, False)),  # the window is cut at the last step
        ((-0.5, 0.3, -0.1, 0.4, 0.5), 12, Window.inclusive, (2, False)),  # a lead that is lost again does not count
        ((-0.5, 0.3, -0.1, 0.4, 0.5), 0, Window.inclusive, (0, False)),  # without persistence it does
        ((-0.5, 0.3, 0.4, -0.1, 0.5), 1, Window.inclusive, (0, False)),
        ((-0.5, 0.3, -0.1, 0.4, 0.5), 1, Window.inclusive, (2, False)),  # lambda = 1 looks at two steps
        ((-0.5, -0.5, 0.3, -0.1, 0.5), 0, Window.inclusive, (1, False)),  # and lambda = 0 at one
        ((-0.5, 0.3, -0.1, 0.4, 0.5), 1, Window.literal, (0, False)),  # j = 0 .. lambda - 1 is one step less
        ((-0.5, -0.5, -0.5, -0.5, -0.5), 0, Window.literal, (0, False)),  # the printed window is empty at lambda = 0
        ((0.9, 0.9, 0.9, 0.9, 0.9), 12, Window.inclusive, (0, False)),  # led before any step: the first step is blamed
        ((-0.5, 0.1, 0.19, 0.1, 0.0), 12, Window.inclusive, (1, True)),  # none reaches delta: the largest lead, marked
        ((-0.5, 0.1, 0.1, 0.1, 0.1), 12, Window.inclusive, (0, True)),  # ties go to the earliest
        ((-0.5, -0.5, -0.5, -0.5, 0.2), 12, Window.inclusive, (3, False)),  # delta itself is enough
        ((-0.5, 0.3), 12, Window.inclusive, (0, False)),  # a rationale of one step
    ],
)
def test_the_mistake_step(leads, persistence, window, step):
    assert mistake_step(leads, 0.2, persistence, window, fallback=True) == step


def test_without_fallback_there_may_be_no_mistake_step():
    assert mistake_step((-0.5, 0.1, 0.0), 0.2, 12, Window.inclusive, fallback=False) == (None, False)


def test_an_unparsed_answer_is_represented_by_the_strongest_other_option():
    table = OptionScores(((0.2, 0.5, 0.3), (0.2, 0.1, 0.7)), (0.0, 0.0))
    assert lead_of_wrong(table, gold=0, wrong=None) == pytest.approx([0.3, 0.5])
    assert lead_of_wrong(table, gold=0, wrong=1) == pytest.approx([0.3, -0.1])


def test_a_mistake_carries_what_the_teacher_said():
    table = scores(-0.5, -0.5, 0.3, 0.4, 0.5)
    (found,), bad = find([case()], Scripted(table))
    assert (found.step, found.fallback, found.wrong, found.unparsed, bad) == (1, False, 1, False, [])
    assert "".join(found.steps) == STEPS and found.probabilities == table.probabilities


def test_the_prompt_states_the_prior_on_the_gold_answer_and_holds_the_steps():
    teacher = Scripted(scores(0, 0, 0, 0, 0))
    find([case()], teacher, prior=0.6)
    first, *_, last = teacher.asked[0].prefixes()
    assert "option A (gold) is right with probability 60%" in first and "One." not in first
    assert last.endswith("Rationale: One. Two. Three. Four.\nThe answer is option")


def test_an_open_question_becomes_gold_against_wrong_in_a_drawn_order():
    orders = set()
    for number in range(20):
        open_case = case(id=f"v{number}", options=(), gold=None, wrong="bad")
        (found,), _ = find([open_case], Scripted(scores(0, 0, 0, 0, 0)), seed=0)
        again, _ = find([open_case], Scripted(scores(0, 0, 0, 0, 0)), seed=0)
        assert again == [found]
        assert (found.options[found.gold], found.options[found.wrong]) == ("gold", "bad")
        orders.add(found.options)
    assert orders == {("gold", "bad"), ("bad", "gold")}


def test_the_order_of_an_open_questions_options_depends_on_the_seed():
    open_case = case(options=(), gold=None, wrong="bad")
    found = [find([open_case], Scripted(scores(0, 0, 0, 0, 0)), seed=seed)[0][0] for seed in range(20)]
    assert {mistake.options for mistake in found} == {("gold", "bad"), ("bad", "gold")}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rationale": "  "}, "empty rationale"),
        ({"gold": 5}, "gold not among options"),
        ({"gold": None}, "gold not among options"),
        ({"options": (), "gold": None, "wrong": None, "unparsed": True}, "open question without a wrong answer"),
        ({"options": (), "gold": None, "wrong": "The gold."}, "open question without a wrong answer"),
    ],
)
def test_cases_that_cannot_be_judged_are_counted_with_the_reason(changes, reason):
    found, (bad,) = find([case(**changes)], Scripted())
    assert (found, bad.id, bad.reason) == ([], "v1", reason)


def test_a_refused_prompt_is_counted_and_the_others_go_on():
    teacher = Scripted(Refusal("too long", "2000 tokens"), scores(-0.5, 0.5, 0.5, 0.5, 0.5))
    (found,), (bad,) = find([case(), case(id="v2")], teacher)
    assert (bad.id, bad.reason, bad.detail) == ("v1", "too long", "2000 tokens")
    assert (found.id, found.step) == ("v2", 0)
