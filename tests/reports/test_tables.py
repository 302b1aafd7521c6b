"""The report on runs made by hand: to the letter in Markdown, parsed again in the other formats, escaped in all."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_runs import planted, write_example, write_rows, write_run

from delamo.metrics.retention import change_over_skills
from delamo.records import Quarantined
from delamo.reports.comparison import compare_runs
from delamo.reports.render import formats
from delamo.reports.render.formats import Code, Heading, Lines, Table, latex, markdown
from delamo.reports.report import report
from delamo.reports.sections.verdicts import verdicts
from delamo.runs.read import collect

GOLDEN = Path(__file__).parents[1] / "golden" / "report.md"
HALF = "10" * 20


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_example(tmp_path).relative_to(tmp_path)


def test_report_to_the_letter(runs):
    assert report(runs) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_report_fits_a_terminal(runs):
    assert max(map(len, report(runs).splitlines())) <= 120


def test_second_report_is_the_same(runs):
    assert report(runs) == report(runs)


def test_many_targets_are_cut_into_tables_that_fit(tmp_path):
    for number in range(9):
        for selector in ("none", "random"):
            write_run(tmp_path, task=f"micro/a_long_target_{number}", selector=selector, seed=0, bits=HALF)
    text = report(tmp_path)
    rows = [line for line in text.split("## Runs")[0].splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 120
    assert sum(line.startswith("| accuracy %") for line in rows) == 3 and "| mean |" in text


def test_json_holds_everything(runs):
    found = json.loads(report(runs, "json"))
    easy, hard = found["budgets"][0]["targets"]
    assert [method["label"] for method in easy["methods"]] == ["pretrained", "random", "error_driven"]
    assert [m["beats_reference"] for m in easy["methods"]] == [None, None, True] and hard["methods"][2][
        "beats_reference"
    ] is False
    ours = easy["methods"][2]
    assert ours["accuracy"] == {"mean": 0.9, "sd": None, "runs": [0.9]} and ours["verdict"] == "beats"
    assert ours["versus"]["inference"]["borrowed"] is True and ours["versus"]["not_judged"] is None
    assert hard["methods"][2]["verdict"] == "not told apart" and hard["methods"][0]["verdict"] is None
    assert found["unfinished"][0]["why"] == "status is 'failed'" and len(found["runs"]) == 10
    assert found["stages"][1] == {"stage": "answers", "computed": 1, "reused": 0, "seconds": 1.5}


def test_csv_has_a_row_for_each_run_and_each_mean(runs):
    rows = list(csv.DictReader(io.StringIO(report(runs, "csv"))))
    assert len(rows) == 2 * (1 + 4 + 1)
    assert [row["seed"] for row in rows[:6]] == ["0", "mean", "0", "1", "2", "0"]
    assert (
        float(rows[5]["accuracy"]) == 0.9 and rows[5]["beats_reference"] == "1" and rows[5]["run"].startswith("runs/")
    )


def test_unknown_format_and_empty_folders_are_clear_errors(runs, tmp_path):
    with pytest.raises(ValueError, match="format is 'pdf': choose one of markdown, html, json, csv, latex"):
        report(runs, "pdf")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        report(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no finished run under"):
        report(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("status.json", '{"state": "running"}', "status is 'running'"),
        ("status.json", "{", "status is 'damaged'"),
        ("metrics.json", "{", "metrics.json is damaged"),
        ("metrics.json", '{"schema_version": 2}', "schema_version 2, this delamo reads 1"),
        ("metrics.json", '{"schema_version": 1, "cell": {}}', "lacks test, validation"),
        ("metrics.json", None, "no metrics.json"),
    ],
)
def test_unfinished_run_is_named_and_not_counted(tmp_path, name, text, why):
    write_run(tmp_path / "good", task="a", selector="none", seed=0, bits=HALF)
    path = write_run(tmp_path, task="b", selector="none", seed=0, bits=HALF)
    (path / name).unlink() if text is None else (path / name).write_text(text)
    found = collect(tmp_path)
    assert [run.cell["task"] for run in found.runs] == ["a"]
    assert found.unfinished[0].path == path and why in found.unfinished[0].why
    assert "Not in the tables: 1 unfinished runs." in report(tmp_path) and path.name in report(tmp_path)


def test_items_that_contradict_the_metrics_are_an_error(tmp_path):
    path = write_run(tmp_path, task="a", selector="none", seed=0, bits="1100")
    lines = (path / "items.jsonl").read_text().splitlines()
    (path / "items.jsonl").write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(ValueError, match=r"items\.jsonl gives accuracy 1\.000000, metrics\.json states 0\.500000"):
        report(tmp_path)
    (path / "items.jsonl").unlink()
    with pytest.raises(ValueError, match=r"has no items\.jsonl"):
        report(tmp_path)


def test_hidden_folders_and_stores_inside_runs_are_not_searched(tmp_path):
    path = write_run(tmp_path, task="a", selector="none", seed=0, bits=HALF)
    shutil.copytree(path, tmp_path / ".partial" / "run")
    shutil.copytree(path, path / "inner")
    assert len(collect(tmp_path).runs) == 1


def test_ablation_is_a_method_of_its_own(tmp_path):
    for rate in (0.1, 0.2):
        tuned = {"tuning": {"learning_rate": rate}, "teacher": {"name": "t", "batch_size": rate}}
        for selector, bits in (("random", HALF), ("error_driven", "1" * 40)):
            write_run(tmp_path, task="a", selector=selector, seed=0, bits=bits, config=tuned, digest=f"{rate}")
    tuned = {"tuning": {"learning_rate": 0.1}, "retriever": {"name": "other", "k1": 3}, "teacher": {"name": "t"}}
    write_run(tmp_path, task="a", selector="error_driven", seed=0, bits="1" * 40, config=tuned, digest="c")
    (target,) = compare_runs(collect(tmp_path)).budgets[0].targets
    compared = {m.label: m.versus is not None for m in target.methods if m.is_judged}
    assert compared == {
        "error_driven (retriever=None, tuning.learning_rate=0.1)": True,
        "error_driven (retriever=None, tuning.learning_rate=0.2)": True,
        "error_driven (retriever=other, tuning.learning_rate=0.1)": True,
    }


def test_random_with_other_settings_is_no_baseline(tmp_path):
    for selector, epochs in (("random", 1), ("error_driven", 2)):
        write_run(tmp_path, task="a", selector=selector, seed=0, bits=HALF, config={"tuning": {"epochs": epochs}})
    (budget,) = compare_runs(collect(tmp_path)).budgets
    assert verdicts(budget) == [
        "a: error_driven has no random run with the same settings to compare with, or more than one kind."
    ]


def test_newer_run_of_a_cell_replaces_the_older(tmp_path):
    import os

    old = write_run(tmp_path / "1", task="a", selector="random", seed=0, bits="0" * 40)
    new = write_run(tmp_path / "2", task="a", selector="random", seed=0, bits="1" * 40)
    os.utime(old / "metrics.json", (1, 1))
    found = compare_runs(collect(tmp_path))
    assert [run.path for run in found.runs] == [new] and [run.path for run in found.superseded] == [old]
    assert "1 runs of a cell that has a newer run" in report(tmp_path)


def test_the_newer_run_is_told_by_its_status_which_a_copy_keeps(tmp_path):
    import os

    early = write_run(tmp_path / "1", task="a", selector="random", seed=0, bits="0" * 40)
    late = write_run(tmp_path / "2", task="a", selector="random", seed=0, bits="1" * 40)
    for path, ended in ((early, 100.0), (late, 200.0)):
        (path / "status.json").write_text(json.dumps({"state": "done", "ended": ended}))
    os.utime(late / "metrics.json", (1, 1))
    assert [run.path for run in compare_runs(collect(tmp_path)).runs] == [late]


def two_kinds(folder):
    for name, delta in (("a", 1), ("b", 2)):
        config = {"mistakes": {"delta": delta}}
        write_run(folder, task="a", selector="error_driven", seed=0, bits=HALF, config=config, digest=name)
    write_run(folder, task="a", selector="random", seed=0, bits="1" * 40)


def test_a_reference_that_is_several_methods_is_an_error_that_names_them(tmp_path):
    two_kinds(tmp_path)
    with pytest.raises(ValueError, match=r"which is 2 methods here(?s:.*)error_driven \(mistakes.delta=1\)"):
        compare_runs(collect(tmp_path), "error_driven")


def test_a_long_reference_stands_above_its_table_and_not_in_a_head(tmp_path):
    two_kinds(tmp_path)
    text = report(tmp_path, reference="error_driven (mistakes.delta=1)")
    assert "The reference is error_driven (mistakes.delta=1)." in text and "| minus the reference (95 %) |" in text


def test_worse_than_random_is_said(tmp_path):
    for seed in range(2):
        write_run(tmp_path, task="a", selector="random", seed=seed, bits="1" * (39 - seed) + "0" * (seed + 1))
        write_run(tmp_path, task="a", selector="error_driven", seed=seed, bits="0" * (39 - seed) + "1" * (seed + 1))
    (budget,) = compare_runs(collect(tmp_path)).budgets
    assert verdicts(budget)[0].startswith("a: error_driven is WORSE than random: -92.5 points")


def test_pretrained_alone_has_a_table(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits=HALF)
    assert "## Student micro, not tuned" in report(tmp_path)


def test_pretrained_stands_in_each_budget_of_its_tasks(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits=HALF, budget="x")
    for budget, count in (("x", 10), ("y", 20)):
        write_run(tmp_path, task="a", selector="random", seed=0, bits=HALF, budget=budget, num_samples=count)
    budgets = compare_runs(collect(tmp_path)).budgets
    assert [b.num_samples for b in budgets] == [10, 20]
    assert [[m.label for m in b.targets[0].methods] for b in budgets] == [["pretrained", "random"]] * 2


def test_stages_and_quarantine_count_a_shared_result_once(tmp_path):
    row = Quarantined(id="p1", stage="pool", reason="no text", detail="d")
    for seed in (0, 1):
        path = write_run(tmp_path, task="a", selector="random", seed=seed, bits=HALF)
        stages = {"index": {"path": "store/index/x-1", "digest": "same", "seconds": 4.0, "reused": seed == 1}}
        (path / "stages.json").write_text(json.dumps(stages))
        write_rows(path / "quarantine.jsonl", [row])
    found = compare_runs(collect(tmp_path))
    assert (found.stages[0].computed, found.stages[0].reused, found.stages[0].seconds) == (1, 1, 4.0)
    assert (found.quarantined[0].rows, found.quarantined[0].runs) == (1, 2)


def test_gain_and_forgetting_by_hand():
    skills = planted(0.5, 0.7)["by_skill"]
    assert change_over_skills(skills, missing=True) == pytest.approx(0.5) and change_over_skills(
        skills, missing=False
    ) == pytest.approx(-0.1)
    assert change_over_skills({}, missing=True) is None


def test_runs_without_planted_truth_have_no_planted_tables(tmp_path):
    nothing = {"precision_at_n": None, "mistake_step": None, "skill_agreement": None, "by_skill": {}}
    write_run(tmp_path, task="a", selector="random", seed=0, bits=HALF, planted=nothing)
    assert "Planted truth" not in report(tmp_path)


NASTY = "a|b\n<script>alert(1)</script> `x` *y* [l](javascript:z) _e_ a_b &lt; \x1b[31m ~s~ 50% $m$ #h {g} ^c \\d"


def test_markdown_escapes():
    assert formats.escape_markdown(NASTY) == (
        r"a\|b \<script>alert(1)\</script> \`x\` \*y\* \[l\](javascript:z) \_e\_ a_b \&lt; \[31m \~s\~ 50% $m$ #h "
        r"{g} ^c \\d"
    )
    (row,) = [line for line in markdown([Table(["x"], [[NASTY]])]).splitlines() if "script" in line]
    assert row.count("|") == 3 and row.count(r"\|") == 1


def test_latex_escapes():
    found = latex([Heading(NASTY), Lines([NASTY], True), Code([NASTY]), Table(["%"], [["[x]"], [NASTY]])])
    for line in found.splitlines():
        assert not line.startswith("[")
    assert r"50\% \$m\$ \#h \{g\} \textasciicircum{}c \textbackslash{}d" in found and "{}[x]" in found


@given(st.text(max_size=30))
def test_latex_leaves_no_command_in_data(text):
    plain = formats.escape_latex(text)
    for known in (*formats._LATEX.values(),):
        plain = plain.replace(known, "")
    assert not set("\\%$#_{}~^&") & set(plain)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_csv_formula_is_text(text):
    (_, row) = csv.reader(io.StringIO(formats.csv_text(["x", "y"], [[text, -1.5]]), newline=""))
    assert row == ["'" + text.replace("\t", " ").replace("\r", " "), "-1.5"]


def test_wide_characters_are_aligned():
    lines = markdown([Table(["name", "n"], [["物体", "1"], ["é", "22"]])]).splitlines()
    assert {formats._width(line) for line in lines} == {14}


def test_what_met_the_task_is_counted_once_for_all_runs_of_a_target(tmp_path):
    from delamo.records import Leak
    from delamo.store import write_rows

    leaks = [
        Leak(pool_id=f"p{number}", sample_id="t", split="test", kind=kind, distance=0)
        for number, kind in enumerate(["picture", "picture", "text"])
    ]
    for seed in (0, 1):
        path = write_run(
            tmp_path, task="micro/a", selector="random", seed=seed, bits=HALF, leakage={"picture": 2, "text": 1}
        )
        write_rows(path / "leaks.jsonl", leaks)
    text = report(tmp_path, "markdown")
    assert "## Leakage audit" in text
    assert "| micro/a | picture  |            2 |" in text and "| micro/a | text     |            1 |" in text


def test_an_audit_that_found_nothing_says_so(tmp_path):
    write_run(tmp_path, task="micro/a", selector="random", seed=0, bits=HALF, leakage={})
    assert "no validation or test sample is met in the pool" in report(tmp_path, "markdown")


def test_reference_can_be_any_method(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits="1" * 10 + "0" * 30)
    for seed in range(3):
        more = "0" * seed + "1" * (3 - seed)
        write_run(tmp_path, task="a", selector="random", seed=seed, bits="1" * 27 + more + "0" * 10)
        write_run(tmp_path, task="a", selector="insta", seed=seed, bits="1" * 37 + more)
    found = {
        reference: {m.label: (m.versus and round(m.versus.difference, 6), m.p_holm is not None) for m in methods}
        for reference in ("random", "insta", "none", "pretrained")
        for methods in [compare_runs(collect(tmp_path), reference).budgets[0].targets[0].methods]
    }
    assert found["random"] == {"pretrained": (-0.475, False), "random": (None, False), "insta": (0.25, True)}
    assert found["insta"] == {"pretrained": (-0.725, False), "random": (-0.25, True), "insta": (None, False)}
    assert found["none"] == {"pretrained": (None, False), "random": (0.475, True), "insta": (0.725, True)}
    assert found["pretrained"] == found["none"]
    text = report(tmp_path, reference="none")
    assert "minus pretrained (95 %)" in text and "a: random beats pretrained: +47.5 points" in text
    with pytest.raises(
        ValueError, match="reference is 'less', and no run is of that method: choose one of insta, none"
    ):
        report(tmp_path, reference="less")


def test_one_setting_of_a_selector_is_a_reference_by_its_label(tmp_path):
    for name, bits in (("answer_switch", "1" * 40), ("whole_rationale", HALF)):
        config = {"mistakes": {"name": name}}
        write_run(tmp_path, task="a", selector="error_driven", seed=0, bits=bits, config=config, digest=name)
    label = "error_driven (mistakes=answer_switch)"
    ours, ablated = compare_runs(collect(tmp_path), label).budgets[0].targets[0].methods
    assert (ours.label, ours.versus) == (label, None) and ablated.versus.difference == -0.5


def test_what_no_budget_changes_stands_in_the_table_of_each(tmp_path):
    for budget, count in (("x", 10), ("y", 20)):
        for task in "ab":
            write_run(tmp_path, task=task, selector="random", seed=0, bits=HALF, budget=budget, num_samples=count)
    write_run(tmp_path, task="a", selector="full_data", seed=0, bits="1" * 40, budget="x", num_samples=10)
    write_run(tmp_path, task="c", selector="none", seed=0, bits=HALF)
    budgets = compare_runs(collect(tmp_path)).budgets
    alone, *tables = budgets
    assert [m.label for m in alone.targets[0].methods] == ["pretrained"] and alone.targets[0].task == "c"
    assert [[[m.label for m in t.methods] for t in b.targets] for b in tables] == [
        [["full_data", "random"], ["random"]]
    ] * 2
    assert tables[1].targets[0].methods[0].versus.difference == 0.5


def test_targets_and_methods_stand_in_the_papers_order(tmp_path):
    for task in ("zebra", "scienceqa", "appliance", "mmbench"):
        for selector in ("error_driven", "superfiltering", "rds", "insta", "random"):
            write_run(tmp_path, task=task, selector=selector, seed=0, bits=HALF)
    targets = compare_runs(collect(tmp_path)).budgets[0].targets
    assert [t.task for t in targets] == ["mmbench", "appliance", "scienceqa", "zebra"]
    assert [m.label for m in targets[0].methods] == ["random", "insta", "superfiltering", "rds", "error_driven"]
    write_run(tmp_path, task="zebra", selector="bm25_text", seed=0, bits=HALF)
    rows = [line.split("|")[1].strip() for line in report(tmp_path).splitlines() if line.startswith("| ")]
    assert rows[2:8] == [
        "random",
        "insta",
        "superfiltering",
        "bm25_text",
        "rds",
        "error_driven",
    ]  # under head and ruler


def test_runs_that_differ_in_the_seed_of_tuning_alone_are_several(tmp_path):
    for training in (0, 1):
        config = {"seeds": {"selection": 0, "training": training, "decoding": 0}}
        write_run(tmp_path, task="a", selector="random", seed=0, bits=HALF, config=config, digest=str(training))
    found = compare_runs(collect(tmp_path))
    assert len(found.budgets[0].targets[0].methods[0].runs) == 2 and not found.superseded
    assert "|   seed 0 training 1 " in report(tmp_path)


def test_an_ablation_on_one_target_names_the_method_on_all(tmp_path):
    for task, names in (("a", ("answer_switch", "whole_rationale")), ("b", ("answer_switch",))):
        write_run(tmp_path, task=task, selector="random", seed=0, bits=HALF)
        for name in names:
            config = {"mistakes": {"name": name}, "task": {"num_val_samples": 30, "name": task}}
            write_run(tmp_path, task=task, selector="error_driven", seed=0, bits=HALF, config=config, digest=name)
    targets = compare_runs(collect(tmp_path), "error_driven (mistakes=answer_switch)").budgets[0].targets
    ours, ablated = "error_driven (mistakes=answer_switch)", "error_driven (mistakes=whole_rationale)"
    assert [[m.label for m in target.methods] for target in targets] == [["random", ours, ablated], ["random", ours]]
    with pytest.raises(
        ValueError, match=r"choose one of error_driven, error_driven \(mistakes=answer_switch\), error_dr"
    ):
        compare_runs(collect(tmp_path), "error_driven (task=a)")
