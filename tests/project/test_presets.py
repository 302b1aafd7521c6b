"""Every table's preset, at both scales: its cells compose, and are as many as it says."""

from __future__ import annotations

import itertools
import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from delamo.config.compose import read_experiment
from delamo.config.conf import conf_dir
from delamo.runs.sweeper import cells_of
from delamo.selectors.error_driven import ErrorDrivenConfig

TABLES = [f"table{number}" for number in range(1, 13)]
SCALES = ("micro", "paper")
TARGETS = ("mmbench", "appliance", "furniture", "living_things", "vqa", "image_caption_match", "scienceqa")
BUILT = {path.stem for path in (conf_dir() / "selector").glob("*.yaml")}


def cells(table: str, scale: str, *more: str) -> list[list[str]]:
    overrides = [f"experiment={table}", f"scale={scale}", *more]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    parse = OverridesParser.create().parse_overrides
    return cells_of(sweeper["grids"], parse(overrides), parse, sweeper["fast"])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", TABLES)
def test_every_value_of_every_grid_composes(experiment_config, table, scale):
    """Each distinct value once, with the rest of a cell that has it: composing all cells would take minutes."""
    seen: set[str] = set()
    for cell in cells(table, scale):
        selector = next((part.split("=")[1] for part in cell if part.startswith("selector=")), None)
        if selector in (None, *BUILT) and not seen.issuperset(cell):
            seen.update(cell)
            experiment_config(*cell)


@pytest.mark.parametrize("table", ["table1", "table2", "table4", "table5", "table9", "table11", "table12"])
def test_a_preset_has_as_many_cells_as_it_says(table):
    said = re.findall(r"= (\d+)", (conf_dir() / "experiment" / f"{table}.yaml").read_text().split("hydra:")[0])
    assert {len(cells(table, scale)) for scale in SCALES} == {int(said[-1])}


def test_the_smoke_grid_is_small(experiment_config):
    fast_cells = cells("table1", "micro", "fast=true")
    assert len(fast_cells) == 7  # one task: pretrained, full, validation, ours, INSTA*, Superfiltering and random
    config = experiment_config(*next(cell for cell in fast_cells if "selector=random" in cell))
    assert (config.pool.size, config.budget.num_samples, config.task.num_test_samples) == (2000, 200, 60)


def test_every_tuned_cell_is_repeated_and_no_other():
    """What has chance in it has three seeds; the untuned student answers greedily, and has none."""
    presets = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml") if path.stem != "none")
    for preset in presets:
        for cell in (dict(part.split("=", 1) for part in cell) for cell in cells(preset, "micro")):
            assert ("seed" in cell) is (cell["selector"] != "none"), (preset, cell)
        seeds = {
            cell["seed"]
            for cell in (dict(p.split("=", 1) for p in c) for c in cells(preset, "micro"))
            if "seed" in cell
        }
        assert seeds == {"0", "1", "2"}, preset
        assert {part for cell in cells(preset, "micro", "seed=0") for part in cell if "seed" in part} == {"seed=0"}


def test_the_cells_of_random_selection_are_those_of_table_1():
    part = {frozenset(cell[:-2]) for cell in cells("table11", "micro")}
    assert len(part) == 63


def pairs() -> list[tuple[str, str, str]]:
    """Every target with every student and every teacher at least once, and every student with every teacher."""
    students = ("llava_1_5_7b", "qwen2_vl_7b")
    teachers = sorted(path.stem for path in (conf_dir() / "teacher").glob("*.yaml"))
    rows = list(itertools.product(students, teachers))
    return [(TARGETS[i % len(TARGETS)], *row) for i, row in enumerate(rows)] + [
        (target, student, teachers[i % len(teachers)])
        for i, (target, student) in enumerate(itertools.product(TARGETS, students))
    ]


NEEDED = {"litellm": ["teacher.model=openai/x"], "hf": ["teacher.path=a/b"], "replay": ["teacher.transcripts=t"]}


@pytest.mark.parametrize(("target", "student", "teacher"), pairs())
def test_the_papers_scale_composes(experiment_config, target, student, teacher):
    open_values = NEEDED.get(teacher, [])
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(
            "config",
            overrides=["scale=paper", f"task={target}", f"student={student}", f"teacher={teacher}", *open_values],
        )
        missing = OmegaConf.missing_keys(config)
        cell = read_experiment(OmegaConf.merge(config, {})) if not missing else None
    assert not missing
    assert (cell.task.name, cell.student.name, cell.teacher.name) == (target, student, teacher)
    assert (cell.pool.name, cell.budget.num_samples, cell.tuning.name) == ("vision_flan", 10_000, "llava_lora")
    assert isinstance(cell.selector, ErrorDrivenConfig)
    assert len({name for name in cell.pool.exclude_tasks if name}) == 5


@pytest.mark.parametrize("tuning", ["llava_lora", "full", "qlora"])
def test_a_recipe_takes_what_the_student_takes(experiment_config, tuning):
    """LLaVA-1.5's 2,048 tokens hold no picture of 480 x 640 in LLaVA-NeXT (2,340) or LLaVA-OneVision (2,929)."""
    assert experiment_config("scale=paper", "student=llava_next_7b", f"tuning={tuning}").tuning.max_length is None


@pytest.mark.parametrize("table", ["table2", "table6"])
def test_the_smoke_grid_keeps_two_sizes_of_the_validation_set(table):
    keys = [dict(part.split("=", 1) for part in cell) for cell in cells(table, "micro", "fast=true")]
    ours = {key["task.num_val_samples"] for key in keys if key["selector"] == "error_driven"}
    assert len(ours) == 2 and len(keys) <= 10


def test_gold_steps_come_between_the_two_halves_of_table_8(experiment_config):
    """The commands in the preset's comment: the first is the half that needs no file."""
    half = cells("table8", "micro", "mistakes=answer_switch")
    assert len(half) == 6 and len(cells("table8", "micro")) == 12
    assert {tuple(cell) for cell in half} < {tuple(cell) for cell in cells("table8", "micro")}
    gold = next(cell for cell in cells("table8", "micro", "fast=true") if "mistakes=annotated" in cell)
    assert experiment_config(*gold).mistakes.path == "mistake_steps.jsonl"
    elsewhere = cells("table8", "micro", "hydra.sweeper.names.gold_steps=gold/of_people.jsonl")
    assert [part for cell in elsewhere for part in cell if "path" in part] == ["mistakes.path=gold/of_people.jsonl"] * 6
