"""The paper's numbers as data: how many, which, and whether they agree with one another where the paper says so."""

from __future__ import annotations

import itertools
import re

import pytest

from delamo.config import conf
from delamo.config.compose import as_dict
from delamo.metrics.statistics import mean
from delamo.paper.measures import MEASURES
from delamo.paper.numbers import LOST, TABLES, numbers, paper_table, remarks
from delamo.runs.read import _dotted

COUNTS = {1: 105, 2: 10, 3: 63, 4: 21, 5: 21, 6: 40, 7: 8, 8: 4, 9: 16, 10: 0, 11: 63, 12: 14}


def rows(name: str) -> dict[tuple[str, ...], dict[str, float]]:
    """(labels) -> column -> value."""
    table = paper_table(name)
    columns = [column.name for column in table.columns]
    return {row.labels: dict(zip(columns, row.values, strict=True)) for row in table.rows if not row.of}


@pytest.mark.parametrize(("number", "count"), COUNTS.items())
def test_every_number_of_every_table_is_there(number, count):
    table = paper_table(f"table{number}")
    assert len(list(numbers(table))) == count
    for row in table.rows:
        assert len(row.labels) == len(table.heads) and len(row.values) == len(table.columns)
    assert {column.measure for column in table.columns} <= set(MEASURES)


SPOTS = [
    ("table1", ("Our Approach", "100K"), "ScienceQA", 68.02),
    ("table1", ("Superfiltering", "30K"), "Appliance Cls", 53.40),
    ("table1", ("Full Data", "1,552K"), "Image-Cap Match", 84.70),
    ("table2", ("Our Approach", "0.1K", "100K"), "Image-Cap Match", 78.50),
    ("table3", ("Our Approach", "GPT-4o", "10K"), "VQA", 76.30),
    ("table4", ("Our Approach", "100K"), "Living Thing Cls", 95.80),
    ("table5", ("Ours w/o Skill Analysis", "30K"), "Furniture Cls", 64.70),
    ("table6", ("Ours", "GPT-4o-mini", "ScienceQA", "0.1K", "100K"), "Fine-tuning (s)", 4647),
    ("table7", ("Our Method",), "Recall@3", 77.0),
    ("table8", ("Gold Mistake Step", "30K"), "ScienceQA", 67.07),
    ("table9", ("0.2", "0", "10K"), "MI accuracy (%)", 62),
    ("table11", ("Random 2", "30K"), "Image-Cap Match", 74.10),
    ("table12", ("VQA",), "# of reasoning steps", 12.74),
]


@pytest.mark.parametrize(("table", "row", "column", "value"), SPOTS)
def test_spot_values(table, row, column, value):
    assert rows(table)[row][column] == value


def test_unknown_table_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"table is 'table13': choose one of table1, .*table12"):
        paper_table("table13")


@pytest.mark.parametrize("samples", ["10K", "30K", "100K"])
def test_random_in_table_1_is_the_mean_of_its_runs_in_table_11(samples):
    runs = [rows("table11")[f"Random {run}", samples] for run in (1, 2, 3)]
    for target, printed in rows("table1")["Random", samples].items():
        assert mean([run[target] for run in runs]) == pytest.approx(printed, abs=0.0051), target


def test_gains_of_table_12_are_differences_in_table_1_and_average_more_than_the_abstract_says():
    untouched, ours = rows("table1")["Pre-trained LMM", "0"], rows("table1")["Our Approach", "100K"]
    gains = {labels[0]: row["Performance gain"] for labels, row in rows("table12").items()}
    for target, gain in gains.items():
        assert ours[target] - untouched[target] == pytest.approx(gain, abs=1e-9), target
    boost = next(remark for remark in remarks() if "average gain" in remark.says)
    assert (boost.value, boost.tables) == (7.01, round(mean(list(gains.values())), 2))
    assert any("10.28" in text for text in paper_table("table12").inconsistent)


SAME = [
    ("table2", ("Our Approach", "1K", "10K"), "table1", ("Our Approach", "10K")),
    ("table2", ("Our Approach", "1K", "100K"), "table1", ("Our Approach", "100K")),
    ("table3", ("Our Approach", "GPT-4o-mini", "10K"), "table1", ("Our Approach", "10K")),
    ("table3", ("Our Approach", "GPT-4o-mini", "100K"), "table1", ("Our Approach", "100K")),
    ("table3", ("Pre-trained LMM", "-", "0"), "table1", ("Pre-trained LMM", "0")),
    ("table5", ("Ours", "10K"), "table1", ("Our Approach", "10K")),
    ("table5", ("Ours w/o Targeted Tuning", "10K"), "table1", ("Random", "10K")),
    ("table5", ("Ours w/o Targeted Tuning", "30K"), "table1", ("Random", "30K")),
]


@pytest.mark.parametrize(("table", "row", "other", "other_row"), SAME)
def test_one_setting_has_one_number_in_two_tables(table, row, other, other_row):
    theirs = rows(other)[other_row]
    assert all(theirs[column] == value for column, value in rows(table)[row].items() if value != LOST)


def test_tables_6_and_9_repeat_what_tables_1_to_3_say():
    costs = {labels[1:4]: row["Accuracy (%)"] for labels, row in rows("table6").items()}
    one, two, three = rows("table1"), rows("table2"), rows("table3")
    assert costs["GPT-4o-mini", "ScienceQA", "1K"] == one["Our Approach", "100K"]["ScienceQA"]
    assert costs["LLaVA-72B", "Image-Cap Match", "1K"] == three["Our Approach", "LLaVA-72B", "100K"]["Image-Cap Match"]
    assert costs["GPT-4o-mini", "Image-Cap Match", "0.1K"] == two["Our Approach", "0.1K", "100K"]["Image-Cap Match"]
    assert rows("table9")["0.2", "12", "10K"]["ScienceQA accuracy (%)"] == one["Our Approach", "10K"]["ScienceQA"]
    assert rows("table9")["0.2", "12", "100K"]["MI accuracy (%)"] == rows("table7")[("Our Method",)]["Accuracy (%)"]


def test_what_contradicts_another_table_is_listed():
    predicted = rows("table8")["Predicted Mistake Step", "10K"]["ScienceQA"]
    assert predicted != rows("table1")["Our Approach", "10K"]["ScienceQA"]
    assert str(predicted) in paper_table("table8").inconsistent[0]
    assert [name for name in TABLES if paper_table(name).inconsistent] == [
        "table6",
        "table8",
        "table9",
        "table10",
        "table12",
    ]


def test_the_one_number_that_our_copy_lacks_is_marked_and_explained():
    lost = [name for name in TABLES for row in paper_table(name).rows for value in row.values if value == LOST]
    assert lost == ["table5"] and "80.00" in (paper_table("table5").lost or "")
    assert rows("table1")["Our Approach", "30K"]["Image-Cap Match"] == 80.00


def test_numbers_in_the_text_are_checked_against_the_tables():
    one, four, five = rows("table1"), rows("table4"), rows("table5")
    ours, full = one["Our Approach", "100K"], one["Full Data", "1,552K"]
    tuned = [value for row in four.values() for value in row.values()]
    assert len(tuned) == 21
    found = {
        "least share": min(100 * ours[target] / full[target] for target in ours),
        "tasks on which": sum(ours[target] > full[target] for target in ours),
        "share of the pool": 100 * 100 / 1552,
        "largest gain of Qwen2": max(
            row[target] - four["Pre-trained LMM", "0"][target] for row in four.values() for target in row
        ),
        "largest drop without mistake": max(
            five["Ours", "10K"][t] - five["Ours w/o Mistake Identification", "10K"][t] for t in five["Ours", "10K"]
        ),
        "drop without error": five["Ours", "10K"]["Image-Cap Match"]
        - five["Ours w/o Error Collection", "10K"]["Image-Cap Match"],
        "drop without skill": five["Ours", "10K"]["Image-Cap Match"]
        - five["Ours w/o Skill Analysis", "10K"]["Image-Cap Match"],
        "one training": mean([row["Fine-tuning (s)"] for key, row in rows("table6").items() if key[0] == "Ours"])
        / 3600,
    }
    said = {remark.says: remark.tables for remark in remarks()}
    for start, value in found.items():
        (stated,) = [tables for says, tables in said.items() if says.startswith(start)]
        assert stated == pytest.approx(value, abs=0.0051), start


def test_a_cell_is_the_overrides_that_make_it_at_either_scale():
    table = paper_table("table5")
    assert table.choices(4, 1, "paper") == {
        "mistakes": "answer_switch",
        "skills": "mistake_steps",
        "mistakes.delta": 0.2,
        "mistakes.persistence": 12,
        "selector": "error_driven",
        "budget": "10k",
        "task": "image_caption_match",
    }
    assert table.choices(5, 0, "micro") == {
        "budget": conf.names("micro")["budgets"][0],
        "selector": "random",
        "task": "micro/surfaces",
    }
    assert paper_table("table3").choices(2, 0, "micro") is None  # no third teacher there
    assert paper_table("table3").choices(2, 0, "paper")["teacher"] == "llama_3_2_90b_vision"


READ = [
    ("paper", {"student": "qwen2_vl_7b", "task": "furniture", "selector": "random", "task.num_val_samples": 100}),
    ("micro", {"ablation": "no_skill_analysis", "mistakes": "pseudo_rationale"}),
]


@pytest.mark.parametrize(("scale", "choices"), READ)
def test_values_read_from_the_files_are_those_that_hydra_composes(experiment_config, scale, choices):
    composed = dict(_dotted(as_dict(experiment_config(f"scale={scale}", *(f"{k}={v}" for k, v in choices.items())))))
    read = conf.values(choices, scale)
    assert {key: value for key, value in read.items() if composed.get(key, "absent") != value} == {}
    left_out = {key for key in composed if key not in read and not key.startswith(("paths.", "seeds."))}
    assert left_out <= {"pool.exclude_tasks", "pool.planted_target", "pool.planted_seed"}  # made of other values


@pytest.mark.parametrize("scale", ["micro", "paper"])
@pytest.mark.parametrize("name", TABLES)
def test_a_preset_runs_the_cells_that_its_table_shows(name, scale):
    """Each cell of the layout is a cell of the sweep, and the other way round, seeds and unread settings apart."""
    table = paper_table(name)
    shown = {
        _essence(choices, scale)
        for row in range(len(table.rows))
        for column in range(len(table.columns))
        if (choices := table.choices(row, column, scale)) and not table.rows[row].of
    }
    if name == "table12":  # a gain is over the untouched student
        shown |= {_essence({"selector": "none", "task": task}, scale) for task in conf.names(scale)["tasks"]}
    assert shown == {_essence(cell, scale) for cell in _swept(name, scale)}


def _swept(name, scale):
    """The cells of the preset's grids, read from its file."""
    from omegaconf import OmegaConf

    from delamo.config.conf import conf_dir

    grids = OmegaConf.to_container(OmegaConf.load(conf_dir() / "experiment" / f"{name}.yaml"))["hydra"]["sweeper"][
        "grids"
    ]
    for grid in grids:
        values = []
        for value in grid.values():
            inside = re.fullmatch(r"\$\{hydra\.sweeper\.names\.(\w+)\}", str(value))
            values.append(conf.names(scale)[inside[1]] if inside else str(value).split(","))
        for chosen in itertools.product(*values):
            yield dict(zip(grid, chosen, strict=True))


def _essence(cell, scale):
    """What decides the cell: groups and values other than the scale's defaults, without seeds."""
    found = conf.expanded({key: value for key, value in cell.items() if key not in ("seed", "mistakes.path")})
    default = conf.choices_at(scale)
    kept = {}
    for key, value in found.items():
        others = {other: chosen for other, chosen in found.items() if other != key}
        usual = conf.value(others, scale, key) if "." in key else default.get(key)
        plain = f"{float(value):g}" if isinstance(usual, float) else str(value)
        if plain != (f"{usual:g}" if isinstance(usual, float) else str(usual)):
            kept[key] = plain
    if kept.get("selector") in ("none", "full_data", "validation_data"):
        kept.pop("budget", None)
    return frozenset(kept.items())
