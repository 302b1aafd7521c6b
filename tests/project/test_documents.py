"""What the documents show works as it stands: commands compose, examples run, files and links exist."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from support.toy_pool import ToyPool

import delamo
import delamo.data
from delamo.cli.app import VERBS
from delamo.config.compose import read_experiment, read_verb
from delamo.config.conf import conf_dir
from delamo.records import Sample, Skill
from delamo.store import RowCounts

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "delamo/models/weights/README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
WITHOUT_CONFIG = ("trace", "why", "doctor")
CONFIGS = {"run": "config", "doctor": "config"}
EXAMPLE = re.compile(r"N(AME)?\.yaml|longest|signs|bench_gpu\.json")
"""Paths that stand for a pattern, an example, or a file to come."""
SMALL = ("pool.size=100", "task.num_val_samples=6", "task.num_test_samples=4", "budget.num_samples=9")
FAST = (*SMALL, "student.max_new_tokens=80", "student.device=cpu", "tuning.epochs=1")


def commands() -> Iterator[tuple[str, str]]:
    """Every call of `delamo` with a value to compose, in blocks and in running text; (page, call)."""
    for page, text in TEXTS.items():
        scripts = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        lines = re.findall(r"^ {4}(delamo [a-z]+ .*)$", text, re.MULTILINE)
        lines += re.findall(r"^(delamo [a-z]+ .*)$", scripts, re.MULTILINE)
        inline = re.findall(r"`(delamo [a-z]+ [^`]*=[^`]*)`", text)
        for line in [*lines, *inline]:
            call = line.partition(" #")[0].strip()
            if not re.search(r"--config-dir|\||-sc ", call):  # files of a reader's own; tested with them
                yield page, call


@pytest.fixture(scope="module", autouse=True)
def schemas() -> None:
    """Those of all verbs."""
    for verb in VERBS:
        importlib.import_module(f"delamo.cli.verbs.{verb}")


@pytest.mark.parametrize(("page", "call"), sorted(set(commands())))
def test_every_command_composes(page, call):
    _, verb, *arguments = shlex.split(call)
    assert verb in VERBS
    if verb in WITHOUT_CONFIG and verb != "doctor":
        return
    overrides = [text.partition(",")[0] for text in arguments if not text.startswith("-") and text != "job"]
    overrides = [text for text in overrides if not text.startswith("assume.")]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose(CONFIGS.get(verb, verb), overrides=overrides)
    (read_experiment if verb in ("run", "plan", "doctor") else read_verb)(composed)


def test_there_are_commands_to_test():
    assert len(set(commands())) > 30 and {page for page, _ in commands()} >= {"README.md", "docs/paper_scale.md"}


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_that_is_named_exists(page):
    names = re.findall(
        r"`((?:delamo|conf|docs|tests|scripts|notebooks)/[\w./-]+|[A-Z]+\.md|[a-z_]+/[a-z_]+\.py)`", TEXTS[page]
    )
    names += re.findall(r"\bpython (scripts/[\w/]+\.py)", TEXTS[page])
    for name in names:
        if not EXAMPLE.search(name):
            assert (ROOT / name).exists() or (ROOT / "delamo" / name).exists(), name


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)):
        if not target.startswith(("https://", "#")):
            assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target


def test_the_index_names_every_page():
    linked = set(re.findall(r"\]\(([\w/]+\.md)\)", TEXTS["docs/README.md"] + TEXTS["docs/speed.md"]))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES if (ROOT / "docs") in path.parents}
    assert {page for page in pages - linked if not page.startswith("reference/")} == {"README.md"}
    nav = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert nav == pages


@pytest.mark.parametrize("page", [page for page in TEXTS if page.startswith("docs/reference/")])
def test_the_reference_names_what_there_is(page):
    names = re.findall(r"^::: ([\w.]+)$", TEXTS[page], re.MULTILINE)
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_the_reference_has_every_public_name_and_every_stage_selector_and_reader():
    api = {name.rpartition(".")[2] for name in re.findall(r"^::: (.+)$", TEXTS["docs/reference/api.md"], re.MULTILINE)}
    assert set(delamo.__all__) - {"__version__"} <= api
    helpers = {"selectors": {"budget", "nearest"}, "data/readers": {"json_lists", "json_records", "splits", "subsets"}}
    helpers["data/readers"] |= {"hf_loading", "hf_rows", "sorted_pool"}
    for page, folder in (("selectors", "selectors"), ("readers", "data/readers"), ("stages", "stages")):
        modules = (
            {path.stem for path in (ROOT / "delamo" / folder).glob("*.py")} - {"__init__"} - helpers.get(folder, set())
        )
        dotted = f"delamo.{folder.replace('/', '.')}"
        shown = set(re.findall(rf"^::: {dotted}\.(\w+)$", TEXTS[f"docs/reference/{page}.md"], re.MULTILINE))
        assert modules <= shown, page


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXTS[page], re.DOTALL)


def test_the_python_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = delamo.compose
    monkeypatch.setattr(delamo, "compose", lambda *overrides: whole(*overrides, *FAST), raising=False)
    for selector in ("none", "random"):
        delamo.run(delamo.compose("experiment=demo", "task=micro/numbers", f"selector={selector}"))
    names: dict = {}
    for block in [*blocks("README.md"), *blocks("docs/python_api.md")]:
        exec(compile(block, "<document>", "exec"), names)
    printed = capsys.readouterr().out
    assert (
        re.search(r"^\d+\.\d% of 4$", printed, re.MULTILINE) and "missing skill" in printed and "Selected by" in printed
    )
    assert "error_driven" in printed and (tmp_path / "report.html").is_file() and (tmp_path / "card.png").is_file()
    assert eval(blocks("docs/python_api.md")[-1].partition("#")[0], names) == "B"


def module_of(path: Path, source: str) -> ModuleType:
    """A module from its source, entered where dataclasses look for it."""
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STAGE_IMPORTS = """
from dataclasses import dataclass
from typing import Any, ClassVar
from delamo.records import Skill
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, write_json
"""


def test_the_selector_of_contributing_works(tmp_path):
    longest = module_of(tmp_path / "contributed_selector.py", blocks("CONTRIBUTING.md")[0])
    pool = ToyPool([Sample(id=f"p{i:02}", instruction="?", answer="x" * (i % 4)) for i in range(12)])
    config = longest.LongestConfig(name="longest")
    chosen = longest.SELECTOR.select(pool, None, config, num_samples=4, rng=np.random.default_rng(0))
    assert [row.id for row in chosen] == ["p03", "p07", "p11", "p02"]


READER_IMPORTS = """
from dataclasses import dataclass
from omegaconf import MISSING
from delamo.data import TASKS, Task, TaskConfig, add_task
"""


def test_the_reader_of_contributing_is_declared(tmp_path, monkeypatch):
    monkeypatch.setattr(delamo.data, "TASKS", dict(delamo.data.TASKS))
    signs = module_of(tmp_path / "contributed_reader.py", READER_IMPORTS + blocks("CONTRIBUTING.md")[1])
    assert delamo.data.TASKS[signs.SignsTaskConfig] is signs.read_task


def test_the_stage_of_contributing_works(tmp_path):
    counting = module_of(tmp_path / "contributed_stage.py", STAGE_IMPORTS + blocks("CONTRIBUTING.md")[2])
    rows = [Skill(val_id="v1", skill="count the circles", step=0)]
    skills = SimpleNamespace(stored=SimpleNamespace(rows=lambda cls, name: rows))
    counts: list[RowCounts] = []
    counting.CountWords(None, skills).compute(SimpleNamespace(path=tmp_path, finish=counts.append))
    assert json.loads((tmp_path / "counts.json").read_text()) == {"v1": 3} and counts[0].num_ok == 1
