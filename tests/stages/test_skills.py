"""Prompts and skills: the exact words the embedded teacher was trained on, and what becomes of its replies."""

import hashlib

import pytest

from delamo.models import prompts
from delamo.models.teachers.base import Refusal
from delamo.records import Mistake, Sample
from delamo.stages.skills import annotate_pool, name_skills, one_line, split_skills

STEPS = ("The star is big.", " So the answer is big.")
MISTAKE = Mistake(
    id="v1",
    question="Big or small?",
    options=("big", "small"),
    gold=1,
    wrong=0,
    steps=STEPS,
    probabilities=((0.5, 0.5),) * 3,
    outside_mass=(0.0,) * 3,
    step=1,
    fallback=False,
)


class Echo:
    prompts = "micro"
    sees_images = False

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def complete(self, asked, *, max_new_tokens, images=None):
        self.asked += asked
        return self.replies


def test_micro_prompts_are_the_words_of_the_training():
    asked = prompts.mistake_step("micro", question="Big?", options=("big", "small"), gold=1, prior=0.6, steps=STEPS)
    assert asked.prefixes()[-1] == (
        "Question: Big?\nOptions: (A) big (B) small\nPrior: option B (small) is right with probability 60%.\n"
        "Rationale: The star is big. So the answer is big.\nThe answer is option"
    )
    words = {"question": "Big?", "options": ("big", "small"), "answer": "small", "steps": STEPS, "step": 1}
    assert prompts.skill("micro", **words) == (
        "Question: Big?\nOptions: (A) big (B) small\nAnswer: small\nRationale: The star is big. So the answer is big.\n"
        "Mistake: So the answer is big.\nMissing skill:"
    )
    assert "Options" not in prompts.skill("micro", **{**words, "options": ()})
    assert (
        prompts.pool_skills("micro", instruction="Look.", answer="Yes.")
        == "Instruction: Look.\nResponse: Yes.\nSkills:"
    )


@pytest.mark.parametrize("prompt_set", ["micro", "paper"])
@pytest.mark.parametrize("name", ["mistake_step", "skill", "pool_skills"])
def test_a_templates_digest_is_that_of_its_text(prompt_set, name):
    text = (prompts.TEMPLATES / prompt_set / f"{name}.j2").read_bytes()
    assert prompts.digest(prompt_set, name) == hashlib.sha256(text).hexdigest()


def test_an_unknown_template_names_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"teacher\.prompts is none.*micro/skill"):
        prompts.digest("none", "skill")


def test_the_paper_prompt_states_the_prior_and_ends_where_the_letter_follows():
    asked = prompts.mistake_step("paper", question="Big?", options=("big", "small"), gold=1, prior=0.6, steps=STEPS)
    assert "There is a probability of 60% that option B (small) is correct." in asked.head
    assert asked.tail.endswith("The answer is")


def test_one_skill_for_each_mistake_and_empty_replies_are_counted():
    skills, bad = name_skills(
        [MISTAKE] * 3, Echo("tell sizes.\n", "", Refusal("too long", "9 tokens")), max_new_tokens=8
    )
    assert [(row.val_id, row.skill, row.step) for row in skills] == [("v1", "tell sizes", 1)]
    assert [row.reason for row in bad] == ["no skill named", "too long"]


def test_pool_samples_get_distinct_skills_in_order():
    samples = [Sample(id=f"p{i}", instruction="Look.", answer="Yes.") for i in range(3)]
    rows, bad = annotate_pool(samples, Echo("a; b ;a.", " ; ", Refusal("too long", "9")), max_new_tokens=8)
    assert [(row.id, row.skills) for row in rows] == [("p0", ("a", "b"))]
    assert [(row.id, row.reason) for row in bad] == [("p1", "no skill named"), ("p2", "too long")]


def test_replies_are_cleaned():
    assert one_line('\n - "read a scale."\nmore') == "read a scale"
    assert split_skills("- a;  b") == ("a", "b")
