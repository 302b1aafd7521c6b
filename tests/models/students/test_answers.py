"""From replies to answers and outcomes: nothing is lost on the way, and unparsed is not wrong."""

from dataclasses import replace

import pytest
from support.configs import node

from delamo.models.hf.chat import SampleError
from delamo.models.students.answers import ask, read_reply
from delamo.models.students.local import Reply
from delamo.records import Sample
from delamo.stages.answers import item_score

CHOICE = Sample(id="c", instruction="Big or small?", answer="small", options=("big", "small"), gold=1)
OPEN = Sample(id="o", instruction="What is it?", answer="A sink.")
CONFIG = replace(node("student", "micro"), max_new_tokens=5, batch_size=2, temperature=0.7)


class Scripted:
    """A student of given replies, in an order of its own."""

    def __init__(self, replies):
        self.given = replies

    def replies(self, samples, **decoding):
        self.decoding = decoding
        yield from sorted(enumerate(self.given[sample.id] for sample in samples), reverse=True)


def rows(*texts):
    samples = [replace(CHOICE, id=f"c{number}") for number in range(len(texts))]
    given = [SampleError("too long", "9 tokens") if text is None else Reply(text, 4, False) for text in texts]
    return samples, Scripted(dict(zip([sample.id for sample in samples], given, strict=True)))


@pytest.mark.parametrize(
    ("sample", "text", "prediction", "correct"),
    [
        (CHOICE, "It is tiny. The final answer is (B).", "B", True),
        (CHOICE, "It fills the picture. The final answer is (A).", "A", False),
        (CHOICE, "I cannot tell.", None, None),
        (CHOICE, "The final answer is (C).", None, None),
        (OPEN, "There is a tap. The final answer is sink.", "sink", True),
        (OPEN, "The final answer is a stove.", "a stove", False),
        (OPEN, "A sink.", None, None),  # cut off before it said what the answer is
    ],
)
def test_a_reply_is_right_wrong_or_unparsed(sample, text, prediction, correct):
    answer = read_reply(sample, Reply(text, 7, True))
    assert (answer.prediction, answer.correct) == (prediction, correct)
    assert (answer.text, answer.num_tokens, answer.truncated) == (text, 7, True)


@pytest.mark.parametrize(
    ("gold", "text", "correct"),
    [
        ("A sink.", "A sink.", True),
        ("a sink", "sink", True),
        ("2", "Two", True),
        ("The answer is: afternoon.", "afternoon", True),
        ("afternoon", "The answer is: afternoon.", True),
        ("The image shows a sink. It is white.", "The image shows a sink. It is white.", True),
        ("sink", "There is a tap and a sink below it.", False),
    ],
)
def test_an_open_answer_is_read_from_a_whole_reply(gold, text, correct):
    assert read_reply(replace(OPEN, answer=gold), Reply(text, 7, False)).correct is correct


def test_the_rationale_ends_where_the_answer_begins():
    assert read_reply(CHOICE, Reply("It is tiny. The final answer is (B).", 7, False)).rationale == "It is tiny."


def test_answers_come_in_order_and_the_rest_is_quarantined():
    samples, student = rows("The final answer is (B).", None, "Hm.", "The final answer is (A).")
    answers, bad = ask(student, samples, CONFIG, stage="answers", seed=3)
    assert [(answer.id, answer.correct) for answer in answers] == [("c0", True), ("c2", None), ("c3", False)]
    assert [(row.id, row.stage, row.reason, row.detail) for row in bad] == [("c1", "answers", "too long", "9 tokens")]
    assert student.decoding == {"temperature": 0.7, "seed": 3, "max_new_tokens": 5, "batch_size": 2}


def test_what_cannot_be_asked_is_listed_in_order_too():
    _, bad = ask(rows(None, "Hm.", None)[1], rows(None, "Hm.", None)[0], CONFIG, stage="answers", seed=0)
    assert [row.id for row in bad] == ["c0", "c2"]


def test_an_outcome_carries_its_gold_answer():
    samples, student = rows("The final answer is (B).", None, "Hm.")
    answers, bad = ask(student, samples, CONFIG, stage="evaluation", seed=0)
    items = [item_score(CHOICE, answer) for answer in answers]
    assert [(item.gold, item.prediction, item.parsed, item.correct) for item in items] == [
        ("B", "B", True, True),
        ("B", None, False, None),
    ]
    assert [row.stage for row in bad] == ["evaluation"]
    item = item_score(OPEN, read_reply(OPEN, Reply("The final answer is a sink", 3, False)))
    assert (item.gold, item.correct) == ("A sink.", True)


def test_nobody_asked_gives_nobody_answering():
    assert ask(Scripted({}), [], CONFIG, stage="answers", seed=0) == ([], [])
