"""The report says how a teacher's replies read, and warns where selection by them is close to random."""

from types import SimpleNamespace

from delamo.models.teachers.base import CUT_OFF
from delamo.reports.render.formats import markdown
from delamo.reports.sections.teacher_health import teacher_health_blocks


def run(**stages):
    """A run whose stages recorded this much of their replies."""
    entries = {
        name: {"path": f"store/{name}/x-1", "digest": name, "disk_bytes": 1, **entry} for name, entry in stages.items()
    }
    return SimpleNamespace(stages=entries, cell={"teacher": "smol", "task": "micro/numbers", "pool": "micro"})


def said(*runs):
    return " ".join(markdown(teacher_health_blocks(runs)).split())  # lines are wrapped


def counts(replies, distinct, most, echoes, **failed):
    accounting = {"in": replies, "ok": replies, "failed": failed, "skipped": {}}
    health = {"replies": replies, "distinct": distinct, "most_frequent": most, "echoes": echoes}
    return {"health": health, "accounting": accounting}


def test_a_teacher_that_repeats_the_prompt_is_warned_of():
    text = said(run(skills=counts(100, 1, 100, 100), pool_skills=counts(50, 40, 5, 0)))
    assert "100.0 % of the replies repeat the prompt" in text and "100.0 % name one and the same skill" in text
    assert "selection by them is close to random" in text and text.count("WARNING") == 1


def test_lost_replies_and_probability_elsewhere_are_warned_of():
    lost = counts(60, 50, 2, 0, **{CUT_OFF: 30, "no skill named": 10})
    text = said(run(skills=lost, mistakes={"health": {"outside_mass": 0.9}}))
    assert "40.0 % named no skill or were cut off" in text and "90.0 % of the probability is on no option" in text
    assert "10.0" in text and "30.0" in text


def test_a_teacher_that_looks_is_described_and_not_warned_of():
    text = said(run(skills=counts(77, 3, 40, 0), mistakes={"health": {"outside_mass": 0.01}}))
    assert "Teacher health" in text and "WARNING" not in text


def test_runs_of_older_code_say_nothing():
    assert teacher_health_blocks([run(skills={"accounting": {"in": 1, "ok": 1, "failed": {}, "skipped": {}}})]) == []
