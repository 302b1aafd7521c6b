"""The GPU benchmark runs from end to end on tiny shapes, and counts arithmetic as one counts it by hand."""

from __future__ import annotations

import json
import sys

import bench_gpu
import pytest
import torch
from gpu_shapes import SHAPES, Counts, Lengths, count, flops


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/bench/bench_gpu.py", *arguments])
    bench_gpu.main()


def test_it_runs_on_tiny_shapes(tmp_path, monkeypatch, capsys):
    run(monkeypatch, "--tiny", "--out", str(tmp_path / "out.json"))
    found = json.loads((tmp_path / "out.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert found["tiny"] and found["gpu"] is None and "--tiny" in found["command"] and found["versions"]["torch"]
    assert found["shapes"].keys() == SHAPES.keys()
    for shape in found["shapes"].values():
        ours, theirs = shape["delamo"], shape["transformers_trainer"]
        assert shape["answers"]["ratio"] > 0 and shape["ratio_to_trainer"] > 0
        assert ours["teraflops_per_sample"] == theirs["teraflops_per_sample"] > 0
        assert ours["steps_timed"] == theirs["steps_timed"] == 4
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05)  # the same weights and samples on both sides


def test_it_wants_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA GPU"):
        run(monkeypatch)


def test_arithmetic_by_hand():
    counts = Counts(
        language=100, lora=10, head=20, projector=5, vision=30, layers=2, width=8, vision_layers=3, vision_width=4
    )
    sample = Lengths(all=10, reply=4, image=6, patches=7)
    language = 4 * 100 * 10 + 6 * 10 * 10 + 4 * 20 * 4
    attention = 6 * 2 * 8 * 10**2
    vision = 2 * 30 * 7 + 4 * 3 * 4 * 7**2
    assert flops(counts, sample) == language + attention + vision + 6 * 5 * 6


@pytest.mark.parametrize(
    ("name", "language", "head", "projector"),
    [
        ("llava_1_5_7b", 32 * (4 * 4096**2 + 3 * 4096 * 11008), 4096 * 32064, 1024 * 4096 + 4096**2),
        (
            "qwen2_vl_7b",
            28 * (2 * 3584**2 + 2 * 3584 * 4 * 128 + 3 * 3584 * 18944),
            3584 * 152064,
            (4 * 1280) ** 2 + 4 * 1280 * 3584,
        ),
    ],
)
def test_the_shapes_are_the_published_ones(tmp_path, name, language, head, projector):
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(SHAPES[name](tmp_path, tiny=False))
    found = count(model, lora=0)
    assert (found.language, found.head, found.projector) == (language, head, projector)
    assert 2.9e8 < found.vision < 7e8
