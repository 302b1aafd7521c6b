"""What choosing cost, and what could not be ranked, against runs made by hand."""

from __future__ import annotations

import json

import pytest
from support.fake_runs import write_run

from delamo.reports.comparison import compare_runs
from delamo.reports.render.formats import markdown
from delamo.reports.sections.selection_costs import selection_cost_blocks, selection_costs
from delamo.reports.sections.unranked import unranked_blocks
from delamo.runs.read import finished_runs

GIB = 2**30
FINE = {"in": 50, "ok": 50, "failed": {}, "skipped": {}}


def stage(kind: str, digest: str, seconds: float, gib: float = 1, mib: float = 1, **more):
    took = {"peak_memory_bytes": {"host": int(gib * GIB)}, "disk_bytes": int(mib * 2**20), "accounting": FINE}
    return {
        "path": f"/store/{kind}/x-{digest.replace('/', '_')}",
        "digest": digest,
        "seconds": seconds,
        "reused": False,
        **took,
        **more,
    }


def spent(tokens: int, usd: float | None):
    return {"calls": 1, "prompt_tokens": tokens, "completion_tokens": 10, "usd": usd, "cached": 0}


def ours(task: str) -> dict:
    return {
        "task": stage("task", f"t{task}", 100),
        "answers": stage("answers", f"a{task}", 10, gib=3),
        "skills": stage("skills", f"s{task}", 5),
        "pool_skills": stage("pool_skills", "p", 40, mib=7),
        "audit": stage("audit", f"u{task}", 100),
        "selection": stage("selection", f"c{task}", 1),
        "tuning": stage("tuning", f"n{task}", 1000, gib=9),
        "evaluation": stage("evaluation", f"e{task}", 1000),
        "answers_after": stage("answers", f"b{task}", 1000),
    }


def by_difficulty(task: str) -> dict:
    account = {"in": 50, "ok": 44, "failed": {"too long": 2, "empty answer": 0}, "skipped": {"1 or above": 4}}
    device = {"host": 2 * GIB, "device": 5 * GIB}
    scores = stage("difficulty", "d", 20, accounting=account, peak_memory_bytes=device)
    return {"difficulty": scores, "selection": stage("selection", "one for all", 2)}


@pytest.fixture
def budgets_and_runs(tmp_path):
    for task in ("micro/easy", "micro/hard"):
        rows = [
            ("none", {"evaluation": stage("evaluation", f"x{task}", 9)}, {}),
            ("full_data", {"selection": stage("selection", "all", 9)}, {}),
            ("error_driven", ours(task), {"skills": spent(100, 0.5), "pool_skills": spent(1000, 2.0)}),
            ("superfiltering", by_difficulty(task), {}),
        ]
        for selector, stages, cost in rows:
            path = write_run(tmp_path, task=task, selector=selector, seed=0, bits="10" * 20, cost=cost)
            (path / "stages.json").write_text(json.dumps(stages))
    results = compare_runs(finished_runs(tmp_path))
    return results.budgets, results.runs


def test_each_distinct_result_counts_once_and_only_what_choosing_needs(budgets_and_runs):
    costs = {cost.label: cost for cost in selection_costs(budgets_and_runs[0])}
    assert set(costs) == {"error_driven", "superfiltering"}
    mine, other = costs["error_driven"], costs["superfiltering"]
    assert (mine.selections, mine.seconds, mine.pool_seconds) == (2, 2 * (10 + 5 + 1) + 40, 40)
    assert (mine.host_bytes, mine.device_bytes, mine.disk_bytes) == (3 * GIB, None, (2 * 3 + 7) * 2**20)
    assert (mine.tokens, mine.usd) == (2 * 110 + 1010, 3.0)
    assert (other.selections, other.seconds, other.pool_seconds) == (1, 22, 20)
    assert (other.host_bytes, other.device_bytes, other.tokens, other.usd) == (2 * GIB, 5 * GIB, 0, 0)


def test_the_table_is_in_the_report(budgets_and_runs):
    text = markdown(selection_cost_blocks(budgets_and_runs[0]))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert ["error_driven", "2", "72.0", "40.0", "3.0", "13.0", "1,230", "3.00"] in cells
    assert ["superfiltering", "1", "22.0", "20.0", "2.0 / 5.0", "2.0", "0", "0.00"] in cells
    assert "Each distinct result counts once" in text


def test_a_price_that_is_not_known_is_no_zero(tmp_path):
    path = write_run(
        tmp_path, task="t", selector="error_driven", seed=0, bits="10" * 20, cost={"skills": spent(1, None)}
    )
    (path / "stages.json").write_text(json.dumps(ours("t")))
    (cost,) = selection_costs(compare_runs(finished_runs(tmp_path)).budgets)
    assert cost.usd is None and cost.tokens == 11


def test_an_older_run_is_read_from_the_store(tmp_path):
    result = tmp_path / "store/difficulty/micro-abc"
    result.mkdir(parents=True)
    manifest = {"seconds": 9, "disk_bytes": 2**20, "peak_memory_bytes": {"host": GIB}, "accounting": FINE}
    (result / "manifest.json").write_text(json.dumps(manifest))
    bare = {"path": str(result), "digest": "d", "seconds": 3, "reused": True}
    path = write_run(tmp_path / "runs", task="t", selector="superfiltering", seed=0, bits="10" * 20)
    (path / "stages.json").write_text(json.dumps({"difficulty": bare, "selection": {**bare, "digest": "s"}}))
    results = compare_runs(finished_runs(tmp_path / "runs"))
    (cost,) = selection_costs(results.budgets)
    assert (cost.host_bytes, cost.disk_bytes, cost.seconds) == (GIB, 2 * 2**20, 6)
    assert "None: each has its difficulty." in markdown(unranked_blocks(results.runs))


def test_what_could_not_be_ranked_is_counted_once_by_reason(budgets_and_runs):
    text = markdown(unranked_blocks(budgets_and_runs[1]))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert cells[2:] == [
        ["difficulty", "micro", "1 or above", "4", "50"],
        ["difficulty", "micro", "too long", "2", "50"],
    ]


def test_runs_without_such_selectors_have_no_such_blocks(tmp_path):
    write_run(tmp_path, task="t", selector="random", seed=0, bits="10" * 20)
    results = compare_runs(finished_runs(tmp_path))
    assert selection_cost_blocks(results.budgets) == [] and unranked_blocks(results.runs) == []
