"""The loss of a step: what transformers' Trainer and PEFT compute, however the batch is cut."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from support.recipes import RECIPE, job
from support.tiny_models import save_tiny_llava
from torch.utils.data import SequentialSampler

from delamo.models.hf.collator import Collator
from delamo.records import Sample
from delamo.tuning.fit import fit, load_model, preflight, prepare

STEPS = {**RECIPE, "batch_size": 8, "epochs": 2, "learning_rate": 3e-3}
WORDS = "It is the very last digit that stands in the middle of the picture, and nothing else is there."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Eleven samples, three of text alone, with replies of 1 to 20 words: two steps an epoch, the last one of three."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(11):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (20 * number, 10, 200)).save(path)
        reply = " ".join(WORDS.split()[: 1 + 19 * (number % 2)])
        picture = str(path) if number % 4 else None
        rows.append(Sample(id=f"p{number}", instruction=f"Which? {number}", answer=reply, image=picture))
    return rows


class Record(pl.Callback):
    """Keeps the gradient that the optimizer is given at each step, clipped or not, and the losses."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.gradients = [*getattr(self, "gradients", []), gradient(module.model)]

    def on_train_end(self, trainer, module):
        self.losses = list(module.losses)


def gradient(model):
    return torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None])


def tuned(base, samples, out, **changes):
    record = Record()
    fit(job(str(base), samples, out, seed=3, **{**STEPS, **changes}), callbacks=[record])
    return record


@pytest.mark.parametrize("average", ["tokens", "samples"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_change_neither_loss_nor_gradient(base, samples, tmp_path, size, average):
    """Replies of one token and of twenty: means of micro-batches that weigh alike would differ by much."""
    whole = tuned(base, samples, tmp_path / "whole", micro_batch_size=8, loss_average=average)
    cut = tuned(base, samples, tmp_path / "cut", micro_batch_size=size, loss_average=average)
    assert len(whole.losses) == 4
    assert cut.losses == pytest.approx(whole.losses, abs=1e-4)
    for one, other in zip(cut.gradients, whole.gradients, strict=True):
        assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9999
        assert one.norm() == pytest.approx(other.norm().item(), rel=1e-3)


def test_the_two_averages_differ(base, samples, tmp_path):
    tokens, per_sample = (tuned(base, samples, tmp_path / name, loss_average=name) for name in ("tokens", "samples"))
    assert abs(tokens.losses[0] - per_sample.losses[0]) > 1e-3
    angle = torch.nn.functional.cosine_similarity(tokens.gradients[0], per_sample.gradients[0], dim=0)
    assert angle < 0.99


@pytest.mark.parametrize("size", [2, 8])
def test_losses_are_those_of_the_trainer_of_transformers_step_by_step(base, samples, tmp_path, size):
    """The same weights, order, optimizer and schedule; only the loop and the loss are the Trainer's."""
    from transformers import Trainer, TrainingArguments

    ours = tuned(base, samples, tmp_path / "ours", micro_batch_size=size)
    planned = job(str(base), samples, tmp_path / "theirs", seed=3, **{**STEPS, "micro_batch_size": size})
    model, processor = load_model(planned)
    planned, _ = preflight(planned, model, processor)
    run = prepare(planned, model, processor, None, ())
    optimizers = run.module.configure_optimizers()

    class InOrder(Trainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

    losses = []
    per_epoch = len(run.plan) // 2
    for epoch in range(2):  # each epoch has an order of its own
        planned_parts = [part for part in run.plan[epoch * per_epoch :][:per_epoch] if any(part.weights)]
        parts = [[samples[i] for i in part.samples] for part in planned_parts]
        trainer = InOrder(
            model=run.module.model,
            args=TrainingArguments(
                output_dir=str(tmp_path / "trainer"),
                per_device_train_batch_size=1,  # a row of this dataset is a micro-batch
                gradient_accumulation_steps=planned.config.accumulation(1),
                num_train_epochs=1,
                max_grad_norm=planned.config.gradient_clip,
                logging_steps=1,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
            ),
            train_dataset=parts,
            data_collator=lambda rows: Collator(processor, None)(rows[0]),
            optimizers=(optimizers["optimizer"], optimizers["lr_scheduler"]["scheduler"]),
        )
        trainer.train()
        losses += [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == len(ours.losses) == 4
    assert ours.losses == pytest.approx(losses, abs=2e-4)
