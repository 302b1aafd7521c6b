"""From the command to the trainer: few frames of our own, so that a traceback and a reader get there quickly."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl

import delamo
from delamo.cli.app import main

PACKAGE = str(Path(delamo.__file__).parent)
MOST = 6


class Reached(BaseException):
    """The trainer was called."""


def test_from_the_command_to_the_trainer(tmp_path, monkeypatch):
    frames: list[str] = []

    def fit(self, *args, **options):
        own = [frame for frame in inspect.stack() if frame.filename.startswith(PACKAGE)]
        frames.extend(f"{Path(frame.filename).relative_to(PACKAGE)}:{frame.function}" for frame in reversed(own))
        raise Reached

    monkeypatch.setattr(pl.Trainer, "fit", fit)
    monkeypatch.chdir(tmp_path)
    sizes = ["pool.size=30", "task.num_val_samples=2", "task.num_test_samples=2", "audit=none"]
    command = ["run", "selector=random", "budget=custom", "budget.num_samples=4", "student.device=cpu", *sizes]
    with pytest.raises(Reached):
        main(command, standalone_mode=False)
    assert frames == [
        "cli/app.py:call",
        "cli/verbs/run.py:main",
        "pipeline.py:run_experiment",
        "stages/base.py:result",
        "stages/tuning.py:compute",
        "tuning/fit.py:fit",
    ]
    assert len(frames) <= MOST
