"""The notebooks run from top to bottom on finished runs, show what they promise, and compute nothing."""

from __future__ import annotations

import ast
import dataclasses
import os
from pathlib import Path

import pytest
from support.fake_runs import write_example, write_rows
from support.table_runs import write_table1

from delamo.records import Sample
from delamo.runs import lineage
from delamo.runs.read import finished_runs
from delamo.store import read_rows

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {"task": "micro:numbers/val/0/{}", "selection": "micro:pool/0/{}"}


@pytest.fixture
def runs(tmp_path) -> Path:
    """Runs made by hand, whose samples have pictures of the microworld."""
    folder = write_example(tmp_path)
    for stage, locator in PICTURES.items():
        for path in (tmp_path / "store" / stage).glob("*/*.jsonl"):
            if path.stem != "selection":
                rows = [
                    dataclasses.replace(row, image=locator.format(i)) for i, row in enumerate(read_rows(Sample, path))
                ]
                write_rows(path, rows)
    return folder


def executed(name: str, runs: Path, monkeypatch, **variables: str) -> tuple[str, int]:
    """All text that a notebook prints, and the number of pictures that it shows."""
    from nbclient import NotebookClient

    path = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    for key, value in {"PYTHONPATH": path, "DELAMO_RUNS": str(runs), **variables}.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if "data" in output]
    texts = [output.text for output in outputs if output.output_type == "stream"]
    return "\n".join(texts + [one.get("text/markdown", "") for one in shown]), sum("image/png" in one for one in shown)


def tree(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


def test_the_tour_goes_from_an_error_to_a_flipped_test_item(runs, tmp_path, monkeypatch):
    before = tree(tmp_path)
    text, pictures = executed("tour.ipynb", runs, monkeypatch)
    assert pictures == 3  # of the error, of the sample that it brought in, and of a test item
    for said in (
        "Is the red circle big or small?",
        'step 2 of 3 (first step with a lasting margin): "It is small."',
        "missing skill: compare the size of shapes",
        "Pool sample p7",
        "26 test items turned right, 0 turned wrong, of 40",
        "after:  A - So it is big.",
    ):
        assert said in text, said
    assert tree(tmp_path) == before


def test_the_comparison_shows_tables_plots_and_sentences(runs, tmp_path, monkeypatch):
    before = tree(tmp_path)
    text, pictures = executed("compare.ipynb", runs, monkeypatch)
    assert pictures > 1
    assert "10 finished runs, 1 unfinished" in text
    assert "micro/easy: error_driven beats random" in text and "## Budget b20: 20 samples" in text
    assert "no table was asked for" in text
    assert tree(tmp_path) == before


def test_the_comparison_takes_the_layout_of_a_table(tmp_path, monkeypatch):
    runs = write_table1(tmp_path / "runs")
    text, _ = executed("compare.ipynb", runs, monkeypatch, DELAMO_TABLE="table1")
    assert "table1: " in text and "64.30" in text and "microworld" in text


def test_flips_are_the_items_whose_outcome_changed(runs):
    found = finished_runs(runs).runs
    run = next(run for run in found if "mistakes" in run.stages)
    turned = lineage.flips(run, found)
    assert len(turned) == 26 and all(b.correct and not a.correct for a, b in turned)
    assert lineage.flips(run) == []  # nothing to compare with


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_reads_reports_alone(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    imported = {
        node.module for cell in code for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.ImportFrom)
    }
    assert not [name for name in imported if name.startswith("delamo")]
    assert "import delamo\n" in "".join(cell.source for cell in code)  # the public API and nothing else


def test_there_are_two():
    assert [path.name for path in NOTEBOOKS] == ["compare.ipynb", "tour.ipynb"]
