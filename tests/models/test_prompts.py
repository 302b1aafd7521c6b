"""The teacher's and the student's prompts: the exact words that the embedded models were trained on."""

import hashlib

import pytest

from delamo.models import prompts
from delamo.records import Sample

STEPS = ("The star is big.", " So the answer is big.")


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


def test_the_student_is_asked_with_its_options():
    sample = Sample(id="s", instruction="Big?", answer="no", options=("yes", "no"), gold=1)
    assert prompts.question("micro", sample) == "Big?\nOptions: (A) yes (B) no"
    assert "Choices: (A) yes (B) no" in prompts.question("paper", sample)
    with pytest.raises(FileNotFoundError, match=r"student\.prompt is none.*student/micro"):
        prompts.question("none", sample)
