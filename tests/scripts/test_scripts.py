"""Every script starts: its imports are there, and it says what it takes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = sorted(path for path in SCRIPTS.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_every_file_is_a_program_or_imported_by_one():
    others = {path.stem for path in SCRIPTS.rglob("*.py")} - {path.stem for path in PROGRAMS}
    assert others == {"training", "flawed_rationales", "gpu_shapes"}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_says_what_it_takes(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0 and "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_its_examples_name_it(path):
    text = path.read_text(encoding="utf-8")
    assert f"python {path.relative_to(SCRIPTS.parent).as_posix()} " in text.replace("\n", " ")
