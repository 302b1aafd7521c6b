"""A tuning run crosses to other processes as JSON."""

import dataclasses
import json
from pathlib import Path

import pytest
from support.recipes import RECIPE, job

from delamo.records import Sample
from delamo.tuning.job import TuningJob


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_job_comes_back_from_json_as_it_was(tmp_path, method):
    samples = [
        Sample(id="a", instruction="Which?", answer="b", options=("x", "y"), gold=1, image="a.png", source="task"),
        Sample(id="b", instruction="What?", answer="c"),
    ]
    folders = {"checkpoints": tmp_path / "checkpoints", "start_from": tmp_path / "first"}
    changes = {**RECIPE, "method": method, "strategy": "fsdp", "max_image_pixels": 9, **folders}
    before = job("package:x", samples, tmp_path / "adapter", seed=3, **changes)
    before = dataclasses.replace(before, lengths=[4, 5], reply_tokens=[1, 2], resume_from="step=1.ckpt")
    assert TuningJob.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_folders_become_absolute_for_processes_with_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    after = TuningJob.from_json(job("x", [], Path("adapter"), seed=0, **RECIPE).to_json())
    assert after.out_dir == tmp_path / "adapter" and after.checkpoints is None and after.start_from is None
