"""What the teacher cost: counted when a stage is computed, kept over killed attempts, once for all that share it."""

import pytest
from support.configs import node
from support.fake_runs import write_run

from delamo.models.teachers.base import PrefixPrompt
from delamo.models.teachers.local import LocalTeacher
from delamo.models.usage import Usage, UsageMeter
from delamo.reports.report import report
from delamo.reports.sections.costs import totals_by_stage
from delamo.runs.read import collect

HALF = "10" * 20
PAID = {"calls": 7, "prompt_tokens": 700, "completion_tokens": 70, "usd": 0.5, "cached": 2}


class Counting:
    def __init__(self):
        self.usage = Usage()


def test_a_meter_counts_what_came_after_it():
    teacher = Counting()
    teacher.usage += Usage(calls=3, usd=1.0)
    meter = UsageMeter(teacher)
    teacher.usage += Usage(calls=2, prompt_tokens=9, usd=0.25, cached=1)
    assert meter.total() == {"calls": 2, "prompt_tokens": 9, "completion_tokens": 0, "usd": 0.25, "cached": 1}


def test_a_killed_attempts_spending_is_counted_by_the_next(tmp_path):
    teacher, file = Counting(), tmp_path / "spent.json"
    meter = UsageMeter(teacher, file)
    teacher.usage += Usage(calls=2, usd=0.5)
    meter.save()
    again = Counting()
    meter = UsageMeter(again, file)
    again.usage += Usage(calls=1, usd=0.25)
    assert (meter.total()["calls"], meter.total()["usd"]) == (3, 0.75)


def test_an_unknown_price_makes_the_sum_unknown():
    assert (Usage(usd=1.0) + Usage(usd=None)).usd is None


def test_a_local_teacher_reports_tokens_and_no_money():
    teacher = LocalTeacher.load(node("teacher", "micro", device="cpu"))
    prompt = PrefixPrompt("Question: big?\nRationale:", (" It is big.", " So yes."), "\nThe answer is option", 2)
    lengths = [len(row) for row in teacher._tokenize(prompt.prefixes())]
    teacher.option_probabilities([prompt])
    assert teacher.usage.calls == 3 and max(lengths) < teacher.usage.prompt_tokens < sum(lengths)
    before = teacher.usage.prompt_tokens
    teacher.complete(["Instruction: Look.\nResponse: Yes.\nSkills:"] * 2, max_new_tokens=8)
    assert teacher.usage.calls == 4 and teacher.usage.prompt_tokens > before
    assert 0 < teacher.usage.completion_tokens <= 8 and teacher.usage.usd == 0


def test_a_stage_that_cells_share_is_paid_once(tmp_path):
    for seed in (0, 1):
        folder = write_run(tmp_path, task="a", selector="random", seed=seed, bits=HALF, cost={"pool_skills": PAID})
        (folder / "stages.json").write_text(
            '{"pool_skills": {"path": "x", "digest": "one", "seconds": 1.0, "reused": false}}'
        )
    assert totals_by_stage(collect(tmp_path).runs) == {"pool_skills": PAID}
    assert "| all         |     7 |           700 |           70 |      2 | 0.50 |" in report(tmp_path)


def test_different_results_add_up_and_a_second_iteration_counts_as_its_stage(tmp_path):
    folder = write_run(
        tmp_path, task="a", selector="error_driven", seed=0, bits=HALF, cost={"skills": PAID, "skills@2": PAID}
    )
    stages = {
        name: f'"{name}": {{"path": "x", "digest": "{name}", "seconds": 1, "reused": false}}'
        for name in ("skills", "skills@2")
    }
    (folder / "stages.json").write_text("{" + ", ".join(stages.values()) + "}")
    total = totals_by_stage(collect(tmp_path).runs)["skills"]
    assert (total["calls"], total["usd"]) == (14, pytest.approx(1.0))
