"""The reader of final answers: every row of the paper's Table 10, and what surrounds them in practice."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from delamo.models.parsing import normalize, read_answer, same_answer

FOUR = ("one", "two", "three", "four")
FIVE = (*FOUR, "five")

TABLE_10 = [
    ("The answer is (B).", "B"),
    ("The answer is (B", "B"),
    ("The answer is B.", "B"),
    ("Answer: B", "B"),
    ("B is the correct answer", "B"),
    ("B", "B"),
    ("The answer is the option B", "B"),
    ("I choose the answer, B", "B"),
]


@pytest.mark.parametrize(("text", "letter"), TABLE_10)
def test_table_10(text, letter):
    assert read_answer(text, FOUR).prediction == letter
    assert read_answer(text.lower(), FOUR).prediction == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(e) This image contains a sink", "E"),
        ("The final answer is (A).", "A"),
        ("The final answer is option A", "A"),
        ("The final answer is **C**.", "C"),
        ("The final answer is: (d)", "D"),
        ("Answer: A because it is round.", "A"),
        ("Option (C) is the correct choice.", "C"),
        (" (b). ", "B"),
        ("The format is 'The answer is A.' I look again. The final answer is (D).", "D"),
        ("The answer is (A). Wait, no. B is the correct answer.", "B"),
    ],
)
def test_variants(text, letter):
    assert read_answer(text, FIVE).prediction == letter


@pytest.mark.parametrize(
    "text",
    [
        "**Final Answer**: B",
        "**Final Answer:** B",
        "### Final Answer\nB",
        "Final answer:\n\n$$B$$",
        "The final answer is \\boxed{B}.",
        "The final answer is: $\\boxed{\\text{B}}$",
        "$\\boxed{B}$",
        "The final answer is $B$.",
        "The final answer is 'B'.",
        "The final answer is <B>.",
        "The answer is **option B**",
        "Answer: Option B",
        "Answer: option (B)",
        "The correct option is (B).",
        "The answer would be B.",
        "**B**",
        "B. two",
        "B) two",
        "**B.** two",
        "The final answer is B. A is the correct colour though.",
        "The best answer is B because A is the correct sound for cats",
        "The answer is B. The answer would be A on another day.",
        "The answer is B. The best option is A to some.",
    ],
)
def test_forms_of_large_models(text):
    assert read_answer(text, FOUR).prediction == "B"


def test_markup_before_the_final_answer_is_no_part_of_the_rationale():
    for answer in ("**Final Answer:** B", "**Final Answer**: B", "### Final Answer\nB", "$\\boxed{B}$"):
        assert read_answer(f"It barks.\n\n{answer}", FOUR).rationale == "It barks."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "I do not know.",
        "The answer is unknown.",
        "Answer: a dog",
        "The answer is a big dog.",
        "This is the correct way to do it.",
        "The final answer is",
        "(A) says blue, which is not it. (B) says red",
        "The final answer is (Z).",
        "The answer is (A). The final answer is (Z).",
        "It's the correct one",
        "A dog is on the grass.",
        "I think A dog",
        "Answer: a red bus",
        "Answer: the options are unclear",
        "The answer is 'a dog'.",
        "The answer is A's friend.",
        "**Answer**\nA dog runs.",
        "\\boxed{a dog}",
        "C is the correct colour",
        "The correct option is not A.",
        "The incorrect option is (B).",
        "My best option is a dog.",
        "If it were red, the answer would be A.",
        "The answer would be A if it were red.",
        "A) red B) blue",
        "A. red. B. blue",
        "B. two\nI am not sure.",
        "E. coli is shown.",
        "U.S. flags are shown.",
    ],
)
def test_unparsed(text):
    reading = read_answer(text, FOUR)
    assert reading.prediction is None


def test_letters_beyond_the_options_are_unparsed():
    assert read_answer("The final answer is (C).", ("yes", "no")).prediction is None
    assert read_answer("The final answer is (B).", ("yes", "no")).prediction == "B"


def test_rationale_ends_where_the_final_answer_begins():
    text = "The top left has a circle. Option A is big, which fits. So the final answer is (A)."
    assert read_answer(text, FOUR).rationale == "The top left has a circle. Option A is big, which fits."
    assert read_answer("No idea here. ", FOUR).rationale == "No idea here."
    assert read_answer("It is round. (B) is the correct answer.", FOUR).rationale == "It is round."
    assert read_answer("B", FOUR).rationale == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("There are seven. The final answer is seven.", "seven"),
        ("The final answer is 3.5.", "3.5"),
        ('The final answer is: "A Sink".', "A Sink"),
        ("The answer is red. The final answer is St. Louis. I hope this helps.", "St. Louis"),
        ("Answer: two dogs\nThank you.", "two dogs"),
        ("Answer: a red bus", "a red bus"),
        ("**Final Answer**: seven", "seven"),
    ],
)
def test_open_answers(text, answer):
    assert read_answer(text).prediction == answer


def test_open_answer_missing():
    assert read_answer("").prediction is None
    assert read_answer("...").prediction is None
    assert read_answer("The final answer is .").prediction is None
    assert read_answer("<think>Perhaps red").prediction is None


@pytest.mark.parametrize(
    ("prediction", "gold", "same"),
    [
        ("A Sink.", "sink", True),
        ("the  RED circle", "red circle", True),
        ("3.5", "35", False),
        ("-3", "3", False),
        ("C++", "c", False),
        ("a", "A", True),
        ("“two”", "two", True),
        ("two", "too", False),
    ],
)
def test_same_answer(prediction, gold, same):
    assert same_answer(prediction, gold) is same


@pytest.mark.parametrize(
    "text",
    [
        "The answer is ",
        "*",
        " ",
        "\n",
        "(A) ",
        "((",
        "B or ",
        "if ",
        "Q: ",
        "\\boxed{",
        chr(34) + "answer" + chr(34) + ": ",
        "so ",
        "A. ",
    ],
)
def test_time_grows_with_the_length_alone(text):
    """A reply that loops is read in about the time of its length: no pattern goes back and forth over it."""
    whole, half = (min(_seconds(text * (length // len(text))) for _ in range(3)) for length in (40_000, 20_000))
    assert whole < 3 * half + 0.05


def _seconds(text):
    started = time.process_time()
    read_answer(text, FOUR)
    read_answer(text)
    return time.process_time() - started


@given(st.text(max_size=300))
def test_any_text_is_read(text):
    for options in ((), FOUR):
        reading = read_answer(text, options)
        assert reading.prediction is None or not options or reading.prediction in "ABCD"
        assert reading.rationale in text
    assert normalize(normalize(text)) == normalize(text)


GROUPS = yaml.safe_load((Path(__file__).parent / "student_replies.yaml").read_text(encoding="utf-8"))
REPLIES = [(text, tuple(group["options"]), letter) for group in GROUPS for text, letter in group["replies"]]


@pytest.mark.parametrize(("text", "options", "letter"), REPLIES)
def test_replies_as_models_write_them(text, options, letter):
    assert read_answer(text, options).prediction == letter


def test_the_table_of_replies_is_long():
    assert len(REPLIES) >= 200


VISION_FLAN = Path(__file__).parents[3] / "shared" / "data" / "vision_flan_sample" / "annotation.json"


@pytest.mark.skipif(not VISION_FLAN.is_file(), reason=f"{VISION_FLAN} is not there")
def test_gold_replies_of_a_real_pool_are_read_back():
    """205 records of Vision-Flan: 37 with options, whose gold replies name one, and 168 without."""
    numbers = {True: [0, 0], False: [0, 0]}
    for record in json.loads(VISION_FLAN.read_text(encoding="utf-8")):
        question, gold = (turn["value"] for turn in record["conversations"][:2])
        options = OPTION.findall(question.partition("ptions:")[2])
        said = read_answer(gold, options).prediction
        right = said is not None if options else said is not None and said == read_answer(said).prediction
        numbers[bool(options)][0] += 1
        numbers[bool(options)][1] += right
    assert numbers[True] == [37, 37]
    assert numbers[False] == [168, 168]


OPTION = re.compile(r"\(([a-z])\)\s*(?:.+?)(?=\s*\([a-z]\)|$)", re.DOTALL)
