"""The embedded models can be trained again: each script writes weights that load."""

from __future__ import annotations

import json
import math
import sys
from random import Random

import flawed_rationales
import pytest
import torch
import train_scorer
import train_student
import train_teacher
import training
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer


@pytest.mark.parametrize(
    ("script", "options", "auto_model", "auto_processor"),
    [
        (train_student, ["--tower-steps", "1"], AutoModelForImageTextToText, AutoProcessor),
        (train_teacher, [], AutoModelForCausalLM, AutoTokenizer),
        (train_scorer, ["--samples", "50"], AutoModelForCausalLM, AutoTokenizer),
    ],
    ids=["student", "teacher", "scorer"],
)
def test_a_training_writes_weights_and_a_recipe(script, options, auto_model, auto_processor, tmp_path, monkeypatch):
    short = ["--minutes", "0.002", "--batch-size", "2", "--threads", str(torch.get_num_threads())]
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path), *short, *options])
    script.main()
    model = auto_model.from_pretrained(tmp_path)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert auto_processor.from_pretrained(tmp_path)
    assert json.loads((tmp_path / "recipe.json").read_text())["batch_size"] == 2


def test_the_rate_follows_the_clock(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(training.time, "time", lambda: 6.0 * next(clock))
    weight, rates = torch.nn.Parameter(torch.ones(1)), []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]))
    model = torch.nn.ParameterList([weight])
    history = training.train_for(
        1.0, model, lambda step, spent: ("x", weight.sum(), spent), rate=1.0, warmup_steps=2, floor=0.1
    )
    spent = [step / 10 for step in range(1, 10)]
    assert [round(part, 9) for _, part in history["x"]] == spent
    warmup = [0.5] + [1.0] * 8
    assert rates == pytest.approx(
        [w * (0.1 + 0.45 * (1 + math.cos(math.pi * s))) for w, s in zip(warmup, spent, strict=True)]
    )


def test_the_flaws_are_where_the_trace_says():
    rng = Random(0)
    for _ in range(200):
        trace = flawed_rationales.draw_trace(rng)
        assert len(trace.sentences) == len(trace.beliefs)
        assert trace.flaw is None or 0 <= trace.flaw < len(trace.sentences)
        gold = trace.example.draft.answer
        if trace.flaw is None:
            assert f"So the answer is {gold}." in trace.sentences
        assert trace.beliefs[-1][1] == flawed_rationales.CONVINCED
