"""Rationales cut into steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.readers import read_pool

from delamo.mistakes.steps import split_steps

PIECES = st.sampled_from(
    ["A b. ", "Why? ", "3.5 ", "e.g. ", "\n", "\n\n- ", "1. ", "Step 2: ", "Dr. X ", "...", "\t", "B", " ", "\u3002"]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map("".join)))
def test_the_pieces_give_the_rationale_back(text):
    assert "".join(split_steps(text)) == text


def test_every_sentence_of_a_worked_answer_is_a_step():
    for sample in read_pool("micro", size=40, surface_overlap=0.5, seed=0):
        assert [step.strip() for step in split_steps(sample.answer)] == [
            f"{sentence}." for sentence in sample.answer.rstrip(".").split(". ")
        ]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        ("One step.", ("One step.",)),
        ("See Fig. 3. It is 3.5 m, e.g. a bus.", ("See Fig. 3.", " It is 3.5 m, e.g. a bus.")),
        ("Dr. Who is here. So (B).", ("Dr. Who is here.", " So (B).")),
        ("- a cat\n- a dog", ("- a cat", "\n- a dog")),
        ("1. Look. 2. Think.", ("1. Look.", " 2. Think.")),
        ("Step 1: look.\n\nStep 2: think.", ("Step 1: look.", "\n\nStep 2: think.")),
        (" Two cats. One dog.\n  - A bus. So (B).", (" Two cats.", " One dog.", "\n  - A bus.", " So (B).")),
    ],
)
def test_what_is_a_step(text, steps):
    assert split_steps(text) == steps
