"""What becomes of the teacher's replies: skills of mistakes and of pool samples."""

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
