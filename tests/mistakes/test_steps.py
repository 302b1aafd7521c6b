"""Rationales cut into steps."""

# ruff: noqa: RUF001 -- sentences of other scripts are as they are written

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


# (rationale with | where a step ends; the bar is no part of it)
RATIONALES = [
    "It is A.| It is B.",
    "The answer is A.| So (A) is right.",
    "Option A.| Option B is out.",
    "I looked at B.| The dog is on the left.",
    "It is not C.| Therefore, it is D.",
    "The author is J. Smith.| He paints.",
    "J. R. R. Tolkien wrote it.| It is long.",
    "Mr. A. Lincoln stands there.| So (B).",
    "The U.S. flag is shown.| It has stars.",
    "It costs 3.50 dollars.| That is cheap.",
    "Version 2.0.1 is out.| It is new.",
    "See Fig. 3.| It is 3.5 m.",
    'He said "stop."| Then he left.',
    "Why is it red?| Because it is a stop sign!| So (A).",
    "Wait, no.| It is blue.",
    "Hmm... let me see.| It is red.",
    "There are e.g. dogs, cats, etc. in it.| So two.",
    "At 5 p.m. it is dark.| So (B).",
    "Dr. Who is here.| So (B).",
    "图中有一只狗。|它是棕色的。|所以答案是B。",
    "这是什么？|这是一只猫！|选A。",
    "他说：“这是狗。”|所以选B。",
    "第一，看图。|第二，数一数。",
    "犬がいます。|茶色です。|だからBです。",
    "यह एक कुत्ता है।|यह भूरा है।",
    "Es un perro.| ¿Por qué?| Porque ladra.| ¡Sí!",
    "Das ist ein Hund.| Er bellt.",
    "C'est un chien.| Il aboie.",
    "### Step 1\nCount the dogs.|\n### Step 2\nCount the cats.",
    "### Step 1: Count\nThere are two dogs.| One is brown.|\n\n### Step 2: Compare\nTwo is more than one.",
    "## Analysis\n\nIt is red.",
    "**Step 1:** Look at it.|\n**Step 2:** Count.",
    "**Step 1:**\nLook at it.|\n**Step 2:**\nCount.",
    "**Analysis:**\nIt is red.|\n\n**Conclusion:**\nSo (A).",
    "Step 1: look.|\n\nStep 2: think.",
    "Step 1\nLook at it.|\nStep 2\nCount.",
    "1. Look.| 2. Think.",
    "1. Look at it.|\n2. Think.|\n3. Answer.",
    "1) Look at it.|\n2) Think.",
    "(1) Look at it.|\n(2) Think.",
    "a) It is red.|\nb) It is round.",
    "- It is red.|\n- It is round.",
    "* It is red.|\n* It is round.",
    "\u2022 It is red.|\n\u2022 It is round.",
    "+ It is red.|\n+ It is round.",
    "- It is red\n\n---\n|- It is round".replace("\n\n---\n|- ", "\n\n---|\n- "),
    "The area is:\n\\[\nA = 3 \\times 4 = 12\n\\]|\nSo it is 12.",
    "The area is\n\\[ A = 12 \\]".replace("is\n", "is|\n"),
    "The area is: \\[ A = 12. \\] \n|So it is 12.".replace(" \n|So", "|\nSo").replace("] |", "]|"),
    "It follows:\n$$\nx = 2\n$$|\nSo (B).",
    "We have $x = 2.5$.| So $y = 5$.",
    "The code:\n```python\nprint(1)\n\nprint(2)\n```|\nIt prints twice.",
    "The table:\n| a | b |\n|---|---|\n| 1 | 2 |",
    "It is red.|\n\nSo (A).",
    "It is red|\nSo (A)",
    "The dog (see Fig. 2) barks.| So (B).",
    "\\begin{align}\nx &= 1 \\\\\ny &= 2\n\\end{align}|\nSo (B).",
    "> It is red.|\n> So (A).",
    "It is 2. The other is 3.".replace("2. The", "2.| The"),
    "There are 3. So (C).".replace("3. So", "3.| So"),
    "No. 5 is red.| So (A).",
    "First, look.| Second, count.| Finally, answer.",
    "\u2460 \u770b\u56fe\u3002|\n\u2461 \u6570\u4e00\u6570\u3002",
]


@pytest.mark.parametrize("marked", RATIONALES)
def test_a_step_is_a_sentence_however_it_is_written(marked):
    if marked.startswith("The table"):
        assert len(split_steps(marked)) == 1
        return
    assert split_steps(marked.replace("|", "")) == tuple(marked.split("|"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["### Step 1", "\\[", "\\]", "$$", "```", "- ", "1. ", "It is A. ", "\n", "| a |", "看。", "**B**"]
        ),
        max_size=12,
    )
)
def test_no_mark_stands_alone_where_there_is_a_sentence(parts):
    text = "".join(parts)
    steps = split_steps(text)
    assert "".join(steps) == text
    if len(steps) > 1:
        assert all(any(char.isalnum() for char in step) for step in steps)
