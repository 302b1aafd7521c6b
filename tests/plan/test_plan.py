"""`delamo plan`: every cell of every preset is composed and planned.

What they share is counted, and the estimates are plain arithmetic.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from delamo.cli.verbs import plan as _verb  # noqa: F401 -- registers the sweeper that plans
from delamo.config.compose import read_experiment
from delamo.config.conf import conf_dir
from delamo.config.grid import GridComposer
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.experiment import keep_data, open_experiment
from delamo.models import prompts
from delamo.models.hf.loading import resolve
from delamo.pipeline import find_candidates, plan_audit, plan_experiment
from delamo.plan.assumptions import LanguageModel
from delamo.plan.counting import TeacherUsage
from delamo.plan.measured import Recorded
from delamo.plan.resources import trained_weights, tuning_seconds
from delamo.plan.summary import bills, look, stages, tunings
from delamo.plan.teacher_costs import asked, prices
from delamo.plan.text import text
from delamo.runs.sweeper import cells_of
from delamo.store import RowCounts

TABLES = [f"table{number}" for number in range(1, 13)]
SCALES = ("micro", "paper")


class Planner:
    """As `delamo plan`, in this process; what was composed for one test serves the next."""

    def __init__(self, store: Path) -> None:
        self.loader = GlobalHydra.instance().config_loader()
        self.parse = OverridesParser.create(config_loader=self.loader).parse_overrides
        self.composer = GridComposer(self.load, self.parse, ExperimentConfig)
        self.paths = (f"paths.store={store}", f"paths.runs={store / 'runs'}")
        sweeper = self.master("task=micro/numbers").hydra.sweeper
        self.assume = OmegaConf.to_object(sweeper.assume)

    def load(self, overrides: list[str]) -> DictConfig:
        config = self.loader.load_configuration("plan", list(overrides), run_mode=RunMode.RUN)
        with open_dict(config):
            del config["hydra"]
        return config

    def master(self, *overrides: str) -> DictConfig:
        return self.loader.load_configuration("plan", list(overrides), run_mode=RunMode.MULTIRUN)

    def cells(self, *overrides: str) -> list[list[str]]:
        sweeper = OmegaConf.to_container(self.master(*overrides).hydra.sweeper, resolve=True)
        return cells_of(sweeper["grids"] or [{}], self.parse(list(overrides)), self.parse, sweeper["fast"])

    def look(self, *overrides: str, cells: list[list[str]] | None = None):
        cells = [[*cell, *self.paths] for cell in cells or self.cells(*overrides)]
        return look(cells, self.composer.compose(cells), self.assume)


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"), keep_data():
        yield Planner(tmp_path_factory.mktemp("store"))


# Presets.


@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_of_every_preset_can_be_planned(planner, scale):
    cells: dict[frozenset[str], list[str]] = {}
    for table in TABLES:
        preset = f"experiment={table}"
        # A preset sets nothing but its grids, so that its cells are those of the other presets too.
        assert set(yaml.safe_load((conf_dir() / "experiment" / f"{table}.yaml").read_text())) == {
            "answers_after",
            "hydra",
        }
        for cell in planner.cells(preset, f"scale={scale}"):
            part = [override for override in cell if override != preset]
            cells.setdefault(frozenset(part), part)
    found = planner.look(cells=list(cells.values()))
    assert found.failed == []
    assert len(cells) == found.num_cells > 301


@pytest.mark.parametrize("scale", SCALES)
def test_table_1_by_hand(planner, scale):
    found = planner.look("experiment=table1", f"scale={scale}")
    assert found.num_cells == 301
    distinct = Counter(work.name for work in found.works.values())
    # Of the pool alone, whatever the target: the whole pool, which no selection seed changes; the most difficult
    # samples and random ones at 3 budgets x 3 seeds. Of each target: its validation samples; error-driven and INSTA*.
    assert distinct["selection"] == 1 + 2 * 9 + 7 * (1 + 2 * 9) == 152
    assert distinct["tuning"] == 3 + 2 * 9 + 7 * (3 + 2 * 9) == 168
    assert distinct["evaluation"] == 301  # every cell tunes or tests something else
    assert distinct["answers"] == 7  # the untuned student's
    assert distinct["pool_skills"] == distinct["index"] == distinct["difficulty"] == distinct["embeddings"] == 1
    assert distinct["mistakes"] == distinct["skills"] == distinct["audit"] == distinct["task"] == 7
    full = [
        work
        for work in found.works.values()
        if "FullData" in str(work.stage.stored.identity) and work.name == "selection"
    ]
    assert [work.num_experiments for work in full] == [21]
    leaky = Counter(work.name for work in found.unshared.values())
    assert leaky["tuning"] == 7 * 3 * (3 * 4 + 2)  # nothing is shared if the audit removes something for each target
    assert found.to_do() and not any(work.done for work in found.works.values())
    assert (len(found.missing) > 0) == (scale == "paper")


def test_the_papers_gpu_hours(planner):
    found = planner.look("experiment=table1", "scale=paper")
    rows = {row.num_samples: row for row in tunings(found.to_do(), planner.assume)}
    assert {samples: row.number for samples, row in rows.items()} == {
        1000: 21,
        10_000: 48,
        30_000: 48,
        100_000: 48,
        1_552_000: 3,
    }
    assert rows[1_552_000].gpu_hours == pytest.approx(3 * 72_410 * 8 / 3600)
    assert rows[100_000].gpu_hours == pytest.approx(48 * 4377 * 8 / 3600)
    assert tunings(planner.look("experiment=table12", "scale=micro").to_do(), planner.assume) == []


def test_a_plan_of_one_cell_reads(planner):
    printed = text(planner.look("scale=paper", "task=scienceqa", "teacher=llava_onevision_72b"), planner.assume)
    assert printed.startswith("# Plan of 1 cells")
    for line in (
        "| pool_skills ",
        "| llava_1_5_7b |  10,000 ",
        "extrapolated",
        "task.root is data/scienceqa: no problems.json",
    ):
        assert line in printed


# Composing.


@pytest.mark.parametrize("preset", ["table1", "table5", "table8", "demo"])
def test_cells_are_composed_as_hydra_does(planner, preset):
    cells = planner.cells(f"experiment={preset}", "iterations=2", "tuning.epochs=3")
    step = max(1, len(cells) // 4)
    for cell, config in list(zip(cells, planner.composer.compose(cells), strict=True))[::step]:
        assert config == planner.load(cell)
        assert OmegaConf.get_type(config.task) is OmegaConf.get_type(planner.load(cell).task)


def test_what_only_hydra_understands_is_left_to_it(planner):
    cells = [["task=micro/numbers", "+no_such_key=1"], ["selector=no_such"], ["task.no_such=1"], ["~seed"]]
    odd, *bad = planner.composer.compose(cells)
    assert odd.no_such_key == 1
    assert isinstance(bad[0], HydraException) and "Could not find 'selector/no_such'" in str(bad[0])
    assert isinstance(bad[1], HydraException) and "Could not override 'task.no_such'" in str(bad[1])
    assert "seed" not in bad[2]


def test_cells_that_cannot_run_are_named(planner):
    small = ("pool.size=50", "budget=custom", "budget.num_samples=51")
    found = planner.look("selector=none,random,no_such", *small)
    assert found.num_cells == 3 and len(found.failed) == 2
    (cell, why), (_, unknown) = found.failed
    assert "selector=random" in cell and "the pool has 50" in why and "selector/no_such" in unknown
    assert "2 of 3 cells cannot run" in text(found, planner.assume)


# What is done.

TINY = (
    "task=micro/surfaces",
    "task.num_val_samples=8",
    "task.num_test_samples=8",
    "pool.size=100",
    "budget=custom",
    "budget.num_samples=5",
)


def test_planned_digests_are_those_of_the_run(planner):
    leaks = ("pool.planted_leaks=4",)
    overrides = [*TINY, *leaks, "selector=random", *planner.paths]
    before = planner.look(*overrides)
    experiment = open_experiment(read_experiment(planner.load(overrides)))
    audit = plan_audit(experiment)
    candidates = find_candidates(experiment, audit)  # computes the audit
    assert len(candidates.removed) == 4
    plan = plan_experiment(experiment, audit, candidates)
    real = {stage.digest for stage in [*audit.walk(), *plan.evaluation.walk()]}
    assert real - set(before.works) and not before.audits_done  # the plan took it that nothing is removed
    after = planner.look(*overrides)
    assert real <= set(after.works) and after.audits_done
    assert {work.name for work in after.works.values() if work.done} == {"audit", "fingerprints"}


def test_what_is_to_be_done_follows_from_manifests(planner):
    found = planner.look(*TINY, "selector=none", "task.seed=0,1")
    first, _ = (work for work in found.works.values() if work.name == "evaluation")
    with first.stage.stored.writing() as writer:
        writer.finish(RowCounts(num_in=4, num_ok=4))
    manifest = json.loads((first.stage.stored.path / "manifest.json").read_text())
    (first.stage.stored.path / "manifest.json").write_text(json.dumps(manifest | {"seconds": 3.0, "disk_bytes": 1000}))
    row = next(
        row
        for row in stages(planner.look(*TINY, "selector=none", "task.seed=0,1"), planner.assume)
        if row.name == "evaluation"
    )
    assert (len(row.done), len(row.to_do)) == (1, 1)
    assert (row.seconds, row.disk_bytes) == (6.0, 2000.0)  # 8 items where 4 took 3 s
    other = planner.look(*TINY, "selector=none", "student=micro_early")
    row = next(row for row in stages(other, planner.assume) if row.name == "evaluation")
    assert row.seconds is None and row.disk_bytes == 8 * 420  # another model: by assumption


# Estimates.


def work_of(planner, stage: str, *overrides: str):
    found = planner.look("scale=paper", "task=scienceqa", *overrides)
    return next(work for work in found.works.values() if work.name == stage)


def test_calls_and_tokens_of_a_small_case(planner):
    assume = planner.assume
    mistakes = asked(work_of(planner, "mistakes"), assume, Recorded())
    assert mistakes.calls == pytest.approx(346.6 * 16)  # errors x (15 steps + 1)
    prompt = prompts.mistake_step(
        "paper", question="q" * 120, options=["o" * 20] * 4, gold=0, prior=0.6, steps=["s" * 80] * 15
    )
    characters = sum(map(len, prompt.prefixes())) - 15  # but for the blank before the first step
    assert mistakes.prompt_tokens == pytest.approx(346.6 * characters / 4)
    assert mistakes.reply_tokens == pytest.approx(346.6 * 16 * 6)  # teacher.answer_max_tokens
    assert asked(work_of(planner, "mistakes", "teacher.readout=samples"), assume, Recorded()).calls == pytest.approx(
        55456
    )
    skills = asked(work_of(planner, "skills"), assume, Recorded())
    assert (skills.calls, skills.reply_tokens) == (pytest.approx(346.6), pytest.approx(346.6 * 15))
    everything = asked(work_of(planner, "skills", "skills=all_samples"), assume, Recorded())
    assert everything.calls == 1000
    assert asked(work_of(planner, "skills", "skills=mistake_steps"), assume, Recorded()) is None
    assert asked(work_of(planner, "mistakes", "mistakes=whole_rationale"), assume, Recorded()) is None


def test_the_price_of_a_pool(planner):
    priced = ("teacher.input_usd_per_million=1", "teacher.output_usd_per_million=2", "teacher.tokens_per_image=100")
    sample = len(prompts.pool_skills("paper", instruction="q" * 259, answer="a" * 77)) / 4 + 100
    usd = 1_552_000 * (sample * 1 + 40 * 2) / 1e6
    for mode, share in (("direct", 1.0), ("batch", 0.5)):
        work = work_of(planner, "pool_skills", *priced, f"teacher.mode={mode}")
        (bill,) = bills([work], planner.assume)
        assert bill.asked == TeacherUsage(1_552_000, pytest.approx(1_552_000 * sample), 1_552_000 * 40)
        assert bill.usd == pytest.approx(usd * share)
    blind = work_of(planner, "pool_skills", *priced, "teacher.sees_images=false")
    assert bills([blind], planner.assume)[0].usd == pytest.approx(usd - 1_552_000 * 100 / 1e6)


def test_an_unknown_price_is_not_zero(planner, monkeypatch):
    work = work_of(planner, "skills", "teacher=litellm", "teacher.model=nobody/knows")
    monkeypatch.setattr("delamo.models.api.transport.import_litellm", lambda: SimpleNamespace(model_cost={}))
    assert prices(work.experiment.config.teacher) == (None, False)
    assert bills([work], planner.assume)[0].usd is None


def test_seconds_lie_on_the_papers_points():
    measured = {100: 10.0, 200: 40.0}
    assert [tuning_seconds(n, measured) for n in (50, 100, 150, 200, 400)] == [5.0, 10.0, 25.0, 40.0, 80.0]


def test_weights_of_an_adapter_are_those_that_tuning_trains(planner):
    tuning = read_experiment(planner.load([])).tuning
    config = json.loads((Path(resolve("package:micro_student")) / "config.json").read_text())["text_config"]
    heads = config["num_key_value_heads"] * config["head_dim"]
    sizes = {"num_layers": config["num_hidden_layers"], "hidden": config["hidden_size"], "key_value": heads}
    model = LanguageModel(**sizes, intermediate=config["intermediate_size"], projector=7)
    assert trained_weights(model, tuning) == 466_944  # as tuning prints it


def test_the_verb_prints_a_plan_and_leaves_nothing_behind(tmp_path):
    program = "import sys; from delamo.cli.app import main; sys.argv[0] = 'delamo'; main()"
    arguments = [
        *TINY,
        "selector=none,random,error_driven",
        "assume.error_rate=0.5",
        "budget.num_samples=101",
        "pool.size=100,200",
    ]
    command = [sys.executable, "-c", program, "plan", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert "# Plan of 6 cells" in done.stdout and "2 of 6 cells cannot run" in done.stdout
    assert "50% of the validation samples" in done.stdout
    assert list(tmp_path.iterdir()) == []
