"""The reproduction card: only a run at the paper's scale with the preset's settings reproduces a number."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.table_runs import FAIR, GOOD, write_cell, write_table1

from delamo.paper import card, requirements
from delamo.paper.card import card as text
from delamo.paper.numbers import MICRO, PAPER, paper_table

TOTAL = 365 + 16


@pytest.fixture(autouse=True)
def nothing_here(tmp_path_factory, monkeypatch):
    """No data in the current folder, no key, no GPU, no weights."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(requirements, "has_gpu", lambda: False)
    monkeypatch.setattr(requirements, "_has_weights", lambda path: path.startswith("package:"))


def items(root):
    return {(item.table, item.row, item.column): item for item in card.make(root).items}


def test_without_runs_every_number_is_listed_and_none_is_reproduced(tmp_path):
    made = card.make(tmp_path)
    assert len(made.items) == TOTAL
    assert dict(made.counts) == {card.NOT_RUN: 329, card.NOT_DERIVABLE: 42, card.DERIVED: 7, card.CONTRADICTED: 3}
    assert "0 of the paper's 381 numbers are reproduced here." in text(tmp_path)
    assert "no such folder, so no runs" in text(tmp_path / "nowhere")


def test_runs_of_the_microworld_reproduce_nothing(tmp_path):
    write_table1(tmp_path, columns=range(7))
    # accuracies that the paper's lie near do not matter: they are another world's
    write_cell(tmp_path, "table4", 0, 0, bits="1" * 33 + "0" * 7)
    made = card.make(tmp_path)
    assert made.counts[card.REPRODUCED] == made.counts[card.DIFFERENT] == made.counts[card.OTHER_SETTINGS] == 0
    assert made.counts[card.NOT_RUN] == 329 and not any(item.value for item in made.items)
    assert f"{made.num_micro} of these runs are of the microworld, which is another world" in " ".join(
        text(tmp_path).split()
    )


def test_a_run_at_the_papers_scale_reproduces_or_differs(tmp_path):
    write_cell(tmp_path, "table1", 0, 2, bits=FAIR, scale=PAPER)  # 60.0 (44.6 to 73.7), the paper has 49.00
    write_cell(tmp_path, "table1", 0, 0, bits=GOOD, scale=PAPER)  # 90.0, the paper has 64.30
    found = items(tmp_path)
    good, bad = (
        found["table1", "Pre-trained LMM, 0", "Furniture Cls"],
        found["table1", "Pre-trained LMM, 0", "MM-Bench"],
    )
    assert (good.state, bad.state) == (card.REPRODUCED, card.DIFFERENT)
    assert good.value.mean == 60.0 and round(good.value.interval.low, 1) == 44.6 and good.needs == ()
    # the same run stands in three more tables
    same = [item.table for item in found.values() if item.state == card.REPRODUCED]
    assert same == ["table1", "table2", "table3", "table5"]
    assert "4 of the paper's 381 numbers are reproduced here." in text(tmp_path)
    assert "60.00 (44.60 to 73.65)" in text(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task.num_test_samples": 50}, "task.num_test_samples=50"),
        ({"student.dtype": "float16"}, "student.dtype=float16"),
    ],
)
def test_a_run_of_other_settings_reproduces_nothing(tmp_path, settings, said):
    write_cell(tmp_path, "table1", 0, 2, bits=FAIR, scale=PAPER, settings=settings)
    item = items(tmp_path)["table1", "Pre-trained LMM, 0", "Furniture Cls"]
    assert (item.state, item.detail) == (card.OTHER_SETTINGS, said)
    assert said in text(tmp_path) and "0 of the paper's 381" in text(tmp_path)


def test_other_settings_beside_the_presets_own_are_said_too(tmp_path):
    write_cell(tmp_path, "table1", 1, 2, bits=FAIR, scale=PAPER)
    write_cell(tmp_path, "table1", 1, 3, bits=FAIR, scale=PAPER, settings={"tuning.epochs": 7})
    found = items(tmp_path)
    assert found["table1", "Random, 10K", "Furniture Cls"].state == card.REPRODUCED
    other = found["table1", "Random, 10K", "Living Thing Cls"]
    assert (other.state, other.detail) == (card.OTHER_SETTINGS, "tuning.epochs=7")


def test_where_the_data_lie_does_not_matter(tmp_path):
    write_cell(tmp_path, "table1", 0, 2, bits=FAIR, scale=PAPER, settings={"task.annotation": "/data/vf.json"})
    assert items(tmp_path)["table1", "Pre-trained LMM, 0", "Furniture Cls"].state == card.REPRODUCED


def test_costs_are_compared_to_the_last_digit_printed(tmp_path):
    for column, usd in ((3, 0.51), (4, 0.8)):
        spent = {"mistakes": {"usd": usd / 2}, "skills": {"usd": usd / 2}}
        write_cell(tmp_path, "table6", 4 if column == 3 else 9, column, scale=PAPER, cost=spent)
    found = items(tmp_path)
    assert found["table6", "Ours, GPT-4o-mini, ScienceQA, 1K, 100K", "API cost ($)"].state == card.DIFFERENT
    assert found["table6", "Ours, GPT-4o-mini, Image-Cap Match, 1K, 100K", "API cost ($)"].state == card.REPRODUCED


def test_what_is_missing_is_named_and_what_is_there_is_not(tmp_path, monkeypatch):
    choices = paper_table("table1").choices(4, 2, PAPER)
    missing = {need.kind: need.what for need in requirements.missing(choices)}
    assert set(missing) == {"student", "data", "pool", "teacher", "GPU"}
    assert "llava-hf/llava-1.5-7b-hf" in missing["student"] and "OPENAI_API_KEY" in missing["teacher"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/vision_flan").mkdir(parents=True)
    (tmp_path / "data/vision_flan/annotation.json").write_text("[]")
    monkeypatch.setenv("OPENAI_API_KEY", "set, and never read")
    monkeypatch.setattr(requirements, "has_gpu", lambda: True)
    assert {need.kind for need in requirements.missing(choices)} == {"student"}
    assert "never read" not in text(tmp_path)


def test_needs_follow_what_a_cell_reads():
    table = paper_table("table1")
    kinds = {row: {need.kind for need in requirements.missing(table.choices(row, 0, PAPER))} for row in (0, 1, 14)}
    assert kinds == {
        0: {"student", "data", "GPU"},
        1: {"student", "data", "pool", "GPU"},
        14: {"student", "data", "GPU"},
    }
    gold = {need.kind: need.what for need in requirements.missing(paper_table("table8").choices(0, 0, PAPER))}
    assert "mistake_steps.jsonl" in gold["steps"]


def test_a_selector_that_is_not_there_is_what_is_missing():
    assert requirements.missing({"task": "mmbench", "selector": "crystal_ball"})[0].kind == "selector"


def test_gpu_hours_by_the_papers_timings():
    table = paper_table("table1")
    hours = [requirements.gpu_hours(table.choices(row, 0, PAPER)) for row in (0, 4, 8, 12, 13, 14)]
    whole = (4353 + 4647 + 4041 + 4534 + 4296 + 4391) / 6 * 8 / 3600
    assert hours == pytest.approx([0, whole / 10, whole * 0.3, whole, 72410 * 8 / 3600, whole / 100])


def test_a_tuning_that_several_numbers_need_is_counted_once(tmp_path):
    """Count by hand.

    Table 1: 3 x 2 selectors of 7 targets and 7 of the validation samples; what does not look at the target, 3 x 3
    random runs, 3 of Superfiltering and the whole pool, once for all. Then what others add.
    """
    distinct = {tuning for item in card.make(tmp_path).items for tuning in item.tunings}
    by_table = {1: 7 * 3 * 2 + 7 + 9 + 3 + 1, 2: 4, 3: 7 * 2 * 3, 4: 14, 5: 12, 6: 1, 8: 2, 9: 6}
    assert len(distinct) == sum(by_table.values())
    assert f"The {len(distinct)} distinct tunings that were not run take" in text(tmp_path)


def test_commands_say_only_what_differs_from_the_scales_defaults(tmp_path):
    found = items(tmp_path)
    command = found["table5", "Ours w/o Skill Analysis, 30K", "Furniture Cls"].command
    assert set(command.split()) == {
        *("delamo", "run", "scale=paper"),
        *("task=furniture", "selector=error_driven", "budget=30k", "skills=mistake_steps"),
    }
    assert "mistakes.delta=0.8" in found["table9", "0.8, 12, 10K", "ScienceQA accuracy (%)"].command


def test_the_other_formats_and_the_file(tmp_path):
    rows = list(csv.DictReader(io.StringIO(text(tmp_path, "csv"))))
    assert len(rows) == TOTAL and {row["state"] for row in rows} <= set(card.STATES)
    found = json.loads(text(tmp_path, "json"))
    assert sum(found["counts"].values()) == TOTAL and found["counts"]["reproduced"] == 0
    assert text(tmp_path, "latex").count(r"\begin{tabular}") > 12
    out = tmp_path / "made" / "card.md"
    assert text(tmp_path, out=out) == f"{out}: 0 of the paper's 381 numbers are reproduced here."
    assert out.read_text() == text(tmp_path) + "\n"
    assert max(map(len, out.read_text().splitlines())) <= 120
    with pytest.raises(ValueError, match="format is 'pdf': choose one of markdown, json, csv, latex"):
        text(tmp_path, "pdf")


def test_the_number_that_our_copy_lacks_is_said(tmp_path):
    assert "Not listed: Ours, 30K, Image-Cap Match" in text(tmp_path)


def test_the_world_of_a_run_is_that_of_its_target(tmp_path):
    write_cell(tmp_path, "table1", 0, 0, scale=MICRO)
    write_cell(tmp_path, "table1", 0, 0, scale=PAPER)
    made = card.make(tmp_path)
    assert (made.num_runs, made.num_micro) == (2, 1)
