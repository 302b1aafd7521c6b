"""Runs in the layout of the paper's tables: what stands where, what is missing, and that two worlds stay apart."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.table_runs import FAIR, GOOD, POOR, write_cell, write_table1

from delamo.config import conf
from delamo.paper.layout import NO_COUNTERPART, NOT_RECORDED, NOT_RUN, lay_out
from delamo.paper.numbers import MICRO, PAPER, TABLES, paper_table
from delamo.paper.render import OURS, OURS_MICRO, WORLD, paper_text
from delamo.paper.report import report
from delamo.runs.read import finished_runs

SMALL = conf.value({"budget": conf.names(MICRO)["budgets"][0]}, MICRO, "budget.num_samples")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_table1(tmp_path_factory.mktemp("runs"))


def laid_out(root, table, scale=MICRO):
    (only,) = lay_out(finished_runs(root), paper_table(table))
    assert only.scale == scale
    return only


def shown(layout):
    """(row, column) -> value of ours, to one place."""
    return {(e.row, e.column): round(e.value.mean, 1) for row in layout.entries for e in row if e.value}


def records(root, table, **more):
    return list(csv.DictReader(io.StringIO(report(root, "csv", table=table, **more))))


def tables_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_rows_are_methods_and_columns_are_targets(runs):
    layout = laid_out(runs, "table1")
    assert shown(layout) == {(0, 0): 30.0, (0, 1): 30.0, (1, 0): 30.0, (1, 1): 30.0, (4, 0): 90.0, (4, 1): 30.0}
    assert layout.entries[1][0].value.num_runs == 3 and layout.entries[4][0].value.n == 40
    head, _, untouched, interval, *_ = tables_of(report(runs, table="table1"))
    assert [cell.strip() for cell in head.split("|")[1:6]] == [
        "Method",
        "Tuning samples",
        "objects",
        "surfaces",
        "frames",
    ]
    assert [cell.strip() for cell in untouched.split("|")[1:6]] == ["Pre-trained LMM", "0", "30.0", "30.0", "not run"]
    assert [cell.strip() for cell in interval.split("|")[1:4]] == ["95 %", "", "18.1\N{EN DASH}45.4"]


def test_a_dagger_marks_what_is_ahead_of_random_by_holm_over_the_table(runs):
    layout = laid_out(runs, "table1")
    assert [(e.row, e.column) for row in layout.entries for e in row if e.beats_random] == [(4, 0)]
    first, second = layout.entries[4][0], layout.entries[4][1]
    assert first.p_holm == pytest.approx(2 * first.versus_random.inference.p) and second.p_holm == 1.0
    text = report(runs, table="table1")
    assert "90.0† " in text and "A dagger (†): beats random" in text and f"| Random, 3 runs  | {SMALL}" in text


def test_missing_cells_are_marked_and_counted(runs):
    text = report(runs, table="table1")
    assert "- 6 of 105 cells have a number." in text and "- 99 have no finished run ('not run')." in text
    assert {e.missing for row in laid_out(runs, "table1").entries for e in row} == {None, NOT_RUN}
    assert max(map(len, report(runs, table="table1", against="paper").splitlines())) <= 120


def test_a_table_without_counterparts_says_so(tmp_path):
    write_cell(tmp_path, "table3", 1, 0)
    layout = laid_out(tmp_path, "table3")
    assert {e.row for row in layout.entries for e in row if e.missing == NO_COUNTERPART} == {2, 4, 6, 8}
    assert "28 have no counterpart in the microworld ('none')" in report(tmp_path, table="table3")


def test_beside_the_paper_two_worlds_are_told_apart(runs):
    text = report(runs, table="table1", against="paper")
    assert "another world" in text and " ".join(WORLD.split()) in " ".join(text.split())
    heads = [line for line in tables_of(text) if OURS_MICRO in line]
    assert len(heads) == 7 and all([c.strip() for c in h.split("|")[3:5]] == [OURS_MICRO, "paper"] for h in heads)
    assert "### objects, beside the paper's MM-Bench" in text
    row = next(line for line in tables_of(text) if f"{SMALL} / 10K" in line and "Our Approach" in line)
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["90.0† (76.9\N{EN DASH}96.0)", "63.86"]
    assert "in our interval" not in text and "yes" not in text


def test_without_the_comparison_no_number_of_the_paper_is_shown(runs):
    text = report(runs, table="table1")
    assert "63.86" not in text and "64.30" not in text and " ".join(WORLD.split()) in " ".join(text.split())
    assert "paper" not in records(runs, "table1")[0]


def test_at_the_papers_scale_the_interval_judges(tmp_path):
    write_table1(tmp_path, scale=PAPER)
    write_cell(tmp_path, "table1", 0, 2, bits=FAIR, scale=PAPER)
    laid_out(tmp_path, "table1", PAPER)
    text = report(tmp_path, table="table1", against="paper")
    assert "another world" not in text and OURS_MICRO not in text
    row = next(line for line in tables_of(text) if "Our Approach" in line and "63.86" in line)
    assert [cell.strip() for cell in row.split("|")[2:6]] == ["10K", "90.00† (76.95\N{EN DASH}96.04)", "63.86", "no"]
    assert {r["paper_in_interval"] for r in records(tmp_path, "table1", against="paper")} == {"", "0", "1"}
    assert {r["world"] for r in records(tmp_path, "table1")} == {OURS}


def test_runs_of_both_scales_are_two_layouts(tmp_path):
    write_cell(tmp_path, "table1", 0, 0)
    write_cell(tmp_path, "table1", 0, 0, scale=PAPER)
    assert [one.scale for one in lay_out(finished_runs(tmp_path), paper_table("table1"))] == [PAPER, MICRO]


def test_json_and_csv_hold_every_cell_in_its_unit(runs):
    found = json.loads(report(runs, "json", table="table1", against="paper"))["layouts"][0]
    assert found["scale"] == MICRO and found["note"] == WORLD and found["counts"] == {"filled": 6, "not run": 99}
    ours = next(cell for cell in found["cells"] if cell["value"] == 90.0)
    assert ours["beats_random"] == 1 and ours["paper"] == 63.86 and ours["paper_in_interval"] is None
    rows = records(runs, "table1", against="paper")
    assert len(rows) == 105 and sum(row["missing"] == "not run" for row in rows) == 99
    assert rows[0]["row"] == "Pre-trained LMM / 0" and rows[0]["runs"].startswith(str(runs))


def test_latex_has_the_same_cells(runs):
    text = report(runs, "latex", table="table1", against="paper")
    assert text.count(r"\begin{tabular}") == 8 and "90.0\\dag{} (76.9\N{EN DASH}96.0)" in text and "63.86" in text


def test_other_settings_than_the_presets_are_named_or_left_out(tmp_path):
    other = {"pool.surface_overlap": 0.9}
    write_cell(tmp_path, "table1", 4, 0, settings=other)
    write_cell(tmp_path, "table1", 0, 0)
    assert "Not as in the preset: pool.surface_overlap=0.9." in report(tmp_path, table="table1")
    write_cell(tmp_path, "table1", 4, 1, bits=GOOD)
    layout = laid_out(tmp_path, "table1")
    assert shown(layout) == {(0, 0): 60.0, (4, 1): 90.0} and layout.deviations == {}
    assert "1 runs of these cells have other settings" in report(tmp_path, table="table1")


def test_an_older_run_of_a_cell_is_named_and_not_shown(tmp_path):
    for folder, bits, ended in (("a", POOR, 100.0), ("b", GOOD, 200.0)):
        path = write_cell(tmp_path / folder, "table1", 4, 0, bits=bits)
        (path / "status.json").write_text(json.dumps({"state": "done", "ended": ended}))
    layout = laid_out(tmp_path, "table1")
    assert shown(layout) == {(4, 0): 90.0} and [run.path.parent.name for run in layout.superseded] == ["a"]
    assert "1 runs of these cells have a newer run and stand aside" in report(tmp_path, table="table1")


def test_one_folder_of_several_tables_gives_each_table_its_own_runs(tmp_path):
    write_cell(tmp_path, "table2", 1, 0, bits=POOR)
    write_cell(tmp_path, "table2", 2, 0, bits=FAIR)
    write_cell(tmp_path, "table5", 2, 0, bits=GOOD)
    write_cell(tmp_path, "table5", 5, 0, bits="0" * 40)
    assert shown(laid_out(tmp_path, "table2")) == {(1, 0): 30.0, (2, 0): 60.0}
    assert shown(laid_out(tmp_path, "table5")) == {(1, 0): 60.0, (2, 0): 90.0, (5, 0): 0.0}
    assert shown(laid_out(tmp_path, "table1")) == {(1, 1): 0.0, (4, 1): 60.0}  # surfaces is a target of Table 1 as well


def test_validation_sizes_tell_rows_of_table_2_apart(tmp_path):
    write_cell(tmp_path, "table2", 1, 0)
    text = report(tmp_path, table="table2", against="paper")
    assert f"| Our Approach | 100                | {SMALL} / 10K" in text  # 0.1K is 100


def test_mistake_finders_are_judged_by_planted_truth(tmp_path):
    step = {"accuracy": 0.75, "recall_at_3": 0.9, "n": 20}
    write_cell(tmp_path, "table7", 3, planted={"mistake_step": step})
    write_cell(tmp_path, "table7", 0, planted=None)
    layout = laid_out(tmp_path, "table7")
    assert shown(layout) == {(3, 0): 75.0, (3, 1): 90.0}
    assert round(layout.entries[3][0].value.interval.low, 1) == 53.1
    text = report(tmp_path, table="table7", against="paper")
    assert "2 are not in what their runs recorded ('?')" in text and "no planted truth to compare with" in text
    assert "100 errors annotated by the authors" in text


def test_delta_and_lambda_are_rows_of_table_9(tmp_path):
    write_cell(tmp_path, "table9", 1, 1, bits=GOOD)
    write_cell(tmp_path, "table9", 2, 1, bits=POOR)
    found = {key: value for key, value in shown(laid_out(tmp_path, "table9")).items() if key[1] == 1}
    assert found == {(1, 1): 90.0, (2, 1): 30.0}
    rows = [r["row"] for r in records(tmp_path, "table9") if r["value"] and r["column"] == "accuracy (%)"]
    assert rows == [f"0.2 / 0 / {SMALL}", f"0 / 12 / {SMALL}"]


def test_seconds_and_cost_of_table_6_come_from_the_runs(tmp_path):
    seconds = {"mistakes": 2.0, "mistakes@2": 1.0, "skills": 3.0, "index": 1.0, "selection": 4.0, "tuning": 50.0}
    cost = {"mistakes": {"usd": 0.25}, "skills": {"usd": 0.5}, "pool_skills": {"usd": 100.0}}
    write_cell(tmp_path, "table6", 4, 0, seconds=seconds, cost=cost)
    write_cell(tmp_path, "table6", 0, 3)
    assert shown(laid_out(tmp_path, "table6")) == {
        (4, 0): 6.0,
        (4, 1): 5.0,
        (4, 2): 50.0,
        (4, 3): 60.0,
        (4, 4): 0.8,
        (0, 3): 60.0,
        (0, 4): 0.0,
    }


def test_an_api_teacher_of_unknown_price_is_no_zero(tmp_path):
    asked = {"mistakes": {"usd": None}, "skills": {"usd": 0.5}}
    write_cell(tmp_path, "table6", 4, 0, scale=PAPER, cost=asked)
    entry = laid_out(tmp_path, "table6", PAPER).entries[4][4]
    assert entry.value is None and entry.detail == "the teacher's price is not known"


def test_answer_formats_of_table_10_are_counted_in_the_replies(tmp_path):
    write_cell(tmp_path, "table10", 0, 0, bits="1" * 30 + "?" * 10)
    values = {row: value for (row, column), value in shown(laid_out(tmp_path, "table10")).items() if column == 0}
    assert values == {0: 100.0, 1: 100.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 6: 0.0, 7: 0.0, 8: 75.0}
    assert "The paper gives no number here." in report(tmp_path, table="table10")


def test_random_runs_of_table_11_have_mean_and_standard_deviation(tmp_path):
    for row, bits in enumerate((POOR, FAIR, GOOD)):
        write_cell(tmp_path, "table11", row, 0, bits=bits)
    layout = laid_out(tmp_path, "table11")
    assert shown(layout) == {(0, 0): 30.0, (1, 0): 60.0, (2, 0): 90.0, (3, 0): 60.0}
    assert layout.entries[3][0].value.sd == pytest.approx(30.0) and len(layout.wanted) == 63
    text = report(tmp_path, table="table11", against="paper")
    assert "60.0 (30.0)" in text
    row = next(line for line in tables_of(text) if "mean (sd)" in line and "/ 10K" in line)
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["60.0 (30.0)", "62.85"]


def test_steps_against_gain_of_table_12(tmp_path):
    for row, (column, steps, bits) in enumerate([(1, 4, GOOD), (0, 8, FAIR), (2, 12, POOR)]):
        write_cell(tmp_path, "table1", 0, column, bits=POOR)
        validation = {"n": 30, "correct": 10, "unparsed": 2, "errors": 20, "accuracy": 1 / 3, "steps": steps}
        write_cell(tmp_path, "table12", row, 0, bits=bits, validation=validation)
    layout = laid_out(tmp_path, "table12")
    assert shown(layout) == {(0, 0): 4, (1, 0): 8, (2, 0): 12, (0, 1): 60.0, (1, 1): 30.0, (2, 1): 0.0}
    text = " ".join(report(tmp_path, table="table12", against="paper").split())
    assert "ours (microworld): Pearson's r -1.00 (p 0.000), Spearman's rho -1.00 (p 0.000) over 3 targets." in text
    assert "the paper's: Pearson's r -0.90 (p 0.005), Spearman's rho -0.54" in text


def test_a_gain_needs_the_untouched_student_and_steps_a_record(tmp_path):
    write_cell(tmp_path, "table12", 0)
    entries = laid_out(tmp_path, "table12").entries[0]
    assert [entry.missing for entry in entries] == [NOT_RECORDED] * 2
    assert "no run of the pretrained student" in entries[1].detail


@pytest.mark.parametrize("table", TABLES)
def test_every_table_prints_in_every_format(tmp_path, table):
    write_cell(tmp_path, table, 0)
    for format in ("markdown", "latex", "csv", "json"):
        assert report(tmp_path, format, table=table, against="paper")
    assert max(map(len, report(tmp_path, table=table, against="paper").splitlines())) <= (
        124 if table == "table6" else 120
    )


def test_errors_name_key_value_and_choices(runs, tmp_path):
    with pytest.raises(ValueError, match="table is 'table0': choose one of table1, "):
        report(runs, table="table0")
    with pytest.raises(ValueError, match="against is 'us': choose paper"):
        report(runs, table="table1", against="us")
    with pytest.raises(ValueError, match="against is 'paper' and table is null: say which table"):
        report(runs, against="paper")
    with pytest.raises(
        ValueError, match=r"table is table9: none of the 10 finished runs .* experiment=table9 scale=micro"
    ):
        report(runs, table="table9")


def test_the_papers_numbers_are_printed_as_the_paper_does():
    assert (paper_text(72410, 0), paper_text(64.3, 2), paper_text(None, 2), paper_text("lost", 2)) == (
        "72,410",
        "64.30",
        "-",
        "lost",
    )
