"""The YAML files and commands of docs/own_data.md work as they stand, on real records where they are at hand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.command import delamo

from delamo.records import Leak, Selected
from delamo.runs.read import finished_runs
from delamo.store import read_rows

TEXT = (Path(__file__).parents[3] / "docs" / "own_data.md").read_text(encoding="utf-8")
SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "vision_flan_sample"
FAST = ("student.max_new_tokens=16", "max_fill=1", "student.device=cpu", "tuning.epochs=1")
NUM_POOL, NUM_VALIDATION, NUM_TEST = 24, 3, 3


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(verb: str) -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith(f"delamo {verb} ")]
    return [shlex.split(line)[1:] for line in lines]


def generated(folder: Path) -> list[dict]:
    """Records in Vision-Flan's format, each with a picture of its own."""
    (folder / "task_imgs").mkdir()
    rows = []
    for number in range(60):
        name = f"task_imgs/shop_{number:06d}.png"
        Image.new("RGB", (32, 24), (4 * number, 90, 10)).save(folder / name)
        question = f"<image>\nWhat is sold in shop {number}?\nOptions: (a) bread (b) shoes"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "(b) shoes"}]
        rows.append({"id": f"shop-{number}", "image": name, "task_name": "shops", "conversations": turns})
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the YAML files, and the data that they name: six questions, and a pool with one of them in it."""
    here = tmp_path_factory.mktemp("own")
    for block in blocks("yaml"):
        path = here / re.match(r"# (\S+)\n", block)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    source = SAMPLE if SAMPLE.is_dir() else here
    rows = json.loads((SAMPLE / "annotation.json").read_text()) if SAMPLE.is_dir() else generated(here)
    rows = [row for row in rows if (source / row["image"]).is_file() and len(json.dumps(row)) < 900]
    asked = [row for row in rows if "Options: (a)" in row["conversations"][0]["value"]][: NUM_VALIDATION + NUM_TEST]
    pool = [row for row in rows if row not in asked][: NUM_POOL - 1] + asked[-1:]
    write(here / "signs" / "validation.json", asked[:NUM_VALIDATION], source)
    write(here / "signs" / "test.json", asked[NUM_VALIDATION:], source)
    write(here / "photos" / "annotation.json", pool, source)
    return here


def write(path: Path, rows: list[dict], source: Path) -> None:
    for row in rows:
        target = path.parent / row["image"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / row["image"], target)
    path.write_text(json.dumps(rows))


def test_check_shows_the_data(place):
    (command,) = commands("check")
    done = delamo(*command, cwd=place, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"# Pool photos: annotation\n\n- {NUM_POOL} rows read: {NUM_POOL} can be used" in done.stdout
    assert "# Task signs" in done.stdout and done.stdout.count(f"- {NUM_VALIDATION} samples.") == 2
    assert "fit student micro" in done.stdout


def test_every_run_and_the_conversion(place):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    by_file, by_line, by_parquet = commands("run")
    (conversion,) = commands("convert")
    for command in (by_file, by_line, conversion, by_parquet):
        done = delamo(*command, *(FAST if command[0] == "run" else ()), cwd=place, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    runs = finished_runs(place / "runs").runs
    assert sorted((run.cell["task"], run.cell["pool"]) for run in runs) == [
        *(("llava_json", "llava_json"), ("signs", "parquet"), ("signs", "photos"))
    ]
    leaked = json.loads((place / "signs" / "test.json").read_text())[-1]["id"]
    for run in runs:
        selected = [row.id for row in read_rows(Selected, run.path / "selection.jsonl")]
        assert len(set(selected)) == len(selected) == 12 and leaked not in selected
        assert {leak.pool_id for leak in read_rows(Leak, run.path / "leaks.jsonl")} == {leaked}
    stages = {run.cell["pool"]: run.stages["pool_skills"] for run in runs}
    assert len({stage["digest"] for stage in stages.values()}) == 1  # annotated once, whatever file it is read from
    assert sum(not stage["reused"] for stage in stages.values()) == 1
