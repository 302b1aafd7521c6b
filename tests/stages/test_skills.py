"""What becomes of the teacher's replies: skills of mistakes and of pool samples."""

from delamo.models.teachers.base import CUT_OFF, Refusal
from delamo.records import Mistake, Sample
from delamo.stages.skills import annotate_pool, health, name_skills

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


def test_a_reply_that_was_cut_off_gives_no_half_skill():
    cut = Refusal(CUT_OFF, "no end within 8 tokens", "read a scale; read a digit from a")
    rows, bad = annotate_pool([Sample(id="p", instruction="Look.", answer="Yes.")], Echo(cut), max_new_tokens=8)
    assert [row.skills for row in rows] == [("read a scale",)] and bad == []
    skills, bad = name_skills([MISTAKE], Echo(cut), max_new_tokens=8)
    assert skills == [] and [row.reason for row in bad] == [CUT_OFF]


def test_what_repeats_the_prompts_examples_is_marked_and_counted():
    teacher = Echo("count people who are partly hidden", "read the digit on the card")
    teacher.prompts = "paper"
    skills, _ = name_skills([MISTAKE] * 2, teacher, max_new_tokens=8)
    assert [row.echo for row in skills] == [True, False]
    counts = health([["a b"], ["a b"], ["c d", "e f"]], ["a b"])
    assert counts == {"replies": 3, "distinct": 3, "most_frequent": 2, "echoes": 2}
