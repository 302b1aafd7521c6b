"""What the reports say of a comparison, in every format: a verdict where there is one, else why there is none."""

import csv
import io
import json

import pytest
from support.fake_runs import write_rows, write_run
from support.table_runs import GOOD, POOR, write_cell

from delamo.api import report as api_report
from delamo.metrics.comparison import MethodRuns, Verdict, compare
from delamo.paper.measures import MeasureInput, gain
from delamo.paper.report import report as paper_report
from delamo.records import Selected
from delamo.reports.comparison import compare_runs
from delamo.reports.methods import drawn
from delamo.reports.report import FORMATS, report
from delamo.reports.sections.verdicts import verdicts
from delamo.runs.read import collect
from delamo.tracking.comparison import tables_of

CLAIMS = ("beats random:", "\N{DAGGER}", "\\dag", "ahead", "WORSE")
"""What no format may say without a verdict; definitions speak of beating, and of the mark in brackets."""


def bits(right, seed=0, n=40):
    """A run with so many right answers, one of them elsewhere for each seed."""
    return "0" * seed + "1" * right + "0" * (n - right - seed)


@pytest.fixture
def single(tmp_path):
    """One run of each method: ours is 60 points better, and nothing is known of the seeds."""
    write_run(tmp_path, task="a", selector="none", seed=0, bits=bits(8))
    write_run(tmp_path, task="a", selector="random", seed=0, bits=bits(12))
    write_run(tmp_path, task="a", selector="error_driven", seed=0, bits=bits(36))
    return tmp_path


def spoken(text):
    """A report without what explains its words."""
    return "\n".join(line for line in text.splitlines() if "marks it" not in line and "Beats random" not in line)


@pytest.mark.parametrize("format", FORMATS)
def test_one_run_a_side_is_not_judged_in_any_format(single, format):
    text = spoken(report(single, format))
    assert "1 run: not judged" in text
    assert not [claim for claim in CLAIMS if claim in text]
    assert format in ("json", "csv") or "Against random: not judged in 1 of 1 comparisons." in text


def test_one_run_a_side_has_no_interval_no_p_and_no_detectable_difference(single):
    (target,) = compare_runs(collect(single)).budgets[0].targets
    pretrained, _, ours = target.methods
    assert (ours.verdict, ours.beats_reference, ours.p_holm, ours.detectable_effect) == (
        Verdict.NOT_JUDGED,
        None,
        None,
        None,
    )
    assert pretrained.versus.inference is None and pretrained.verdict is None
    row = list(csv.DictReader(io.StringIO(report(single, "csv"))))[-1]
    assert float(row["minus_reference"]) == pytest.approx(0.6) and row["verdict"] == "1 run: not judged"
    assert [row[key] for key in ("minus_reference_low", "minus_reference_high", "p", "p_holm", "beats_reference")] == (
        [""] * 5
    )
    plain = json.loads(report(single, "json"))["budgets"][0]["targets"][0]["methods"][2]
    assert plain["beats_reference"] is None and plain["verdict"] == plain["versus"]["not_judged"] + ": not judged"


def test_one_run_a_side_is_not_judged_by_api_and_tracker(single):
    shown = api_report(single)
    ((line,),) = shown.verdicts.values()
    assert line == "a: error_driven minus random: +60.0 points; 1 run: not judged."
    assert not [claim for claim in CLAIMS if claim in spoken(shown._repr_html_())]
    assert shown.to_pandas()["verdict"].tolist()[2] == "1 run: not judged"
    columns, rows = tables_of(shown.results)["comparison"]
    ours = dict(zip(columns, rows[-1], strict=True))
    assert (ours["beats_reference"], ours["verdict"], ours["p_holm"]) == (None, "1 run: not judged", None)


@pytest.mark.parametrize("format", FORMATS)
def test_one_run_a_side_is_not_judged_in_the_papers_tables(tmp_path, format):
    write_cell(tmp_path, "table1", 1, 0, bits=POOR)
    write_cell(tmp_path, "table1", 4, 0, bits=GOOD)
    text = paper_report(tmp_path, format, table="table1")
    assert "1 run: not judged" in text and "\N{DAGGER}" not in text.replace("dagger (\N{DAGGER})", "")
    assert "\\dag" not in text.replace("dagger (\\dag{})", "") and '"beats_random": 1' not in text


def test_a_gain_of_one_run_has_no_interval(tmp_path):
    for row, runs in ((0, (POOR,)), (4, (GOOD,))):
        for seed, right in enumerate(runs):
            write_cell(tmp_path, "table1", row, 0, bits=right, seed=seed)
    runs = {run.cell["selector"]: run for run in collect(tmp_path).runs}
    source = MeasureInput(runs=[runs["error_driven"]], untuned=[runs["none"]])
    found = gain(source)
    assert found.mean == pytest.approx(60) and (found.interval, found.not_judged) == (None, "1 run")


def write_seeds(root, selector, rights, task="a", **more):
    for seed, right in enumerate(rights):
        write_run(root, task=task, selector=selector, seed=seed, bits=bits(right, seed), **more)


def test_a_side_with_one_run_borrows_and_says_so(tmp_path):
    write_seeds(tmp_path, "random", (12, 13, 12))
    write_seeds(tmp_path, "error_driven", (36,))
    (line,) = verdicts(compare_runs(collect(tmp_path)).budgets[0])
    assert line.startswith("a: error_driven beats random: +59.2 points")
    assert "a single run taken to vary as the other methods' do" in line


def test_a_third_method_lends_its_variance_on_its_own_target_only(tmp_path):
    for task in "ab":
        write_seeds(tmp_path, "random", (12,), task)
        write_seeds(tmp_path, "error_driven", (36,), task)
    write_seeds(tmp_path, "insta", (12, 13, 12), "a")
    first, second = compare_runs(collect(tmp_path)).budgets[0].targets
    judged = {m.label: m.verdict for m in first.methods if m.is_judged}
    assert Verdict.NOT_JUDGED not in judged.values() and judged["insta"] is Verdict.OPEN
    assert {m.verdict for m in second.methods if m.is_judged} == {Verdict.NOT_JUDGED}
    assert [m.p_holm for m in first.methods if m.label == "error_driven"] == [
        pytest.approx(2 * min(m.versus.inference.p for m in first.methods if m.is_judged))
    ]


def test_noisy_runs_are_no_better_than_each_other(tmp_path):
    write_seeds(tmp_path, "random", (20, 30, 25))
    write_seeds(tmp_path, "error_driven", (36,))
    (line,) = verdicts(compare_runs(collect(tmp_path)).budgets[0])
    assert "does NOT beat" in line


def test_a_run_that_was_copied_is_no_second_one(tmp_path):
    for seed in range(3):
        write_run(tmp_path, task="a", selector="random", seed=seed, bits=bits(12))
        write_run(tmp_path, task="a", selector="error_driven", seed=seed, bits=bits(36))
    (line,) = verdicts(compare_runs(collect(tmp_path)).budgets[0])
    assert line == "a: error_driven minus random: +60.0 points; 3 runs, 1 draw: not judged."


def test_verdicts_are_counted_by_kind(tmp_path, single):
    write_seeds(tmp_path, "random", (12, 13, 12), "b")
    write_seeds(tmp_path, "error_driven", (36, 35, 36), "b")
    write_seeds(tmp_path, "insta", (12, 12, 14), "b")
    write_seeds(tmp_path, "rds", (2, 3, 2), "b")
    text = report(tmp_path)
    assert "it is beaten in 1 of 4 comparisons, 1 worse, 1 not told apart, 1 not judged." in text
    assert "b: rds is WORSE than random: -25.0 points" in text


def test_the_pretrained_student_has_no_runs_to_vary(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits=bits(12))
    write_seeds(tmp_path, "error_driven", (35, 36, 35))
    (budget,) = compare_runs(collect(tmp_path), "pretrained").budgets
    (line,) = verdicts(budget)
    assert line.startswith("a: error_driven beats pretrained") and "single run" not in line


@pytest.mark.parametrize(("reason", "judged"), [("random", False), ("retrieved", True)])
def test_a_selection_drawn_once_is_one_draw_and_a_chosen_one_is_not(tmp_path, reason, judged):
    """Tuned three times on one selection: of a selector that draws, another selection was never tried."""
    write_run(tmp_path, task="a", selector="none", seed=0, bits=bits(8))
    selection = {"num_samples": 1, "reasons": {reason: 1}}
    for training in range(3):
        config = {"seeds": {"selection": 0, "training": training, "decoding": 0}}
        more = {"config": config, "digest": f"{training:010}", "selection": selection}
        path = write_run(tmp_path, task="a", selector="error_driven", seed=0, bits=bits(34 + training), **more)
        write_rows(path / "selection.jsonl", [Selected(id="p", rank=0, reason=reason)])
    (target,) = compare_runs(collect(tmp_path), "pretrained").budgets[0].targets
    ours = target.methods[1]
    assert len(ours.runs) == 3 and (ours.verdict is not Verdict.NOT_JUDGED) is judged


def test_runs_on_several_selections_count_by_selection(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits=bits(8))
    for number in range(4):
        config = {"seeds": {"selection": number // 2, "training": number, "decoding": 0}}
        more = {"config": config, "digest": f"{number:010}"}
        path = write_run(tmp_path, task="a", selector="random", seed=0, bits=bits(20 + 3 * number), **more)
        write_rows(path / "selection.jsonl", [Selected(id=f"p{number // 2}", rank=0, reason="random")])
    (target,) = compare_runs(collect(tmp_path), "pretrained").budgets[0].targets
    runs = target.methods[1].runs
    assert len(runs) == 4 and len(set(drawn(runs).units)) == 2
    alone = compare(MethodRuns(outcomes=[run.outcomes for run in runs]), drawn(target.methods[0].runs))
    assert target.methods[1].versus.inference.freedom < alone.inference.freedom
