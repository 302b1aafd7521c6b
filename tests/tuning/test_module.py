"""The Lightning module: schedule, seeds and signals."""

import signal
from types import SimpleNamespace

import pytest
import torch
from support.recipes import RECIPE, recipe

from delamo.tuning.module import TunedStudent, cosine_with_warmup, dropout_seed


def test_a_first_sigterm_ends_a_process_of_several(monkeypatch):
    """Lightning waits for the end of a batch, which does not come where another process is gone."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        module = TunedStudent(torch.nn.Linear(1, 1), recipe(**RECIPE), [], seed=0)
        trainer = SimpleNamespace(world_size=2, global_rank=1)
        monkeypatch.setattr(TunedStudent, "trainer", trainer)
        module.on_train_start()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_rate_rises_from_its_first_step_and_falls_to_almost_nothing():
    """transformers' schedule has the same values but for the warm-up, which it begins with a rate of 0."""
    factors = [cosine_with_warmup(step, num_warmup=2, num_steps=10) for step in range(10)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors == [*factors[:2], *sorted(factors[2:], reverse=True)] and 0 < factors[-1] < 0.05
    assert cosine_with_warmup(0, num_warmup=0, num_steps=1) == 1.0
    assert cosine_with_warmup(10, num_warmup=2, num_steps=10) == pytest.approx(0)


def test_each_batch_has_dropout_of_its_own():
    seeds = {dropout_seed(seed, index) for seed in (0, 1) for index in range(50)}
    assert len(seeds) == 100 and all(0 <= seed < 2**63 for seed in seeds)
    assert dropout_seed(3, 0) == 3309236001271253451  # a run from before resumes with the same dropout
