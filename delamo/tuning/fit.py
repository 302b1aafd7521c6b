"""Targeted tuning (paper, section 3.5): LoRA on the selected samples, with Lightning; only what was trained is saved.

The paper states the rate (2e-4), the batch (128) and the machine (8 x A100-40GB); rank, epochs and schedule are those of
LLaVA-1.5's LoRA recipe, which its timings imply.
"""

from __future__ import annotations

import logging
import math
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

from delamo.data.images import ImageError
from delamo.models.hf.chat import SampleError
from delamo.models.hf.collator import Collator
from delamo.models.hf.components import count_all, count_trainable
from delamo.models.hf.loading import context_length, free_memory, load_base
from delamo.models.hf.processors import processor_facts
from delamo.records import Quarantined, Sample
from delamo.tuning import distributed
from delamo.tuning.batches import padding_share, plan_batches
from delamo.tuning.checkpoints import checkpointing, resume_point
from delamo.tuning.job import Job
from delamo.tuning.module import SelectionData, TunedStudent
from delamo.tuning.recipe import Recipe
from delamo.tuning.sharding import gathered
from delamo.tuning.trainable import make_trainable, save_trained

TOO_LONG = "too long"
MOST_TOO_LONG = 0.1
"""Part of a selection that may be left out for its length before that is said aloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """What a tuning run did."""

    steps: int
    """Optimiser steps."""
    loss: float
    """Mean over the last tenth of the micro-batches, in nats a token."""
    seconds: float
    trainable: dict[str, int]
    """Trainable parameters by component."""
    quarantined: list[Quarantined]
    padding: float = 0.0
    """Part of the batches' tokens that was padding."""
    num_processes: int = 1
    facts: dict[str, str] | None = None
    """What decided how samples became tensors and numbers; see `processor_facts`."""


def tune(
    student_path: str,
    samples: Sequence[Sample],
    out_dir: Path,
    *,
    seed: int,
    revision: str | None = None,
    device: str = "auto",
    attn: str = "sdpa",
    max_image_pixels: int | None = None,
    start_from: Path | None = None,
    checkpoints: Path | None = None,
    logger: Any = None,
    callbacks: Sequence[Callback] = (),
    **recipe: Any,
) -> TuningResult:
    """Tune a student on samples and write the adapter to `out_dir` in PEFT's format (full tuning: the trained weights).

    Under torchrun the other processes take their share; only this one writes.

    Args:
        max_image_pixels: larger pictures are made smaller first.
        start_from: an adapter to go on from.
        checkpoints: folder for checkpoints to resume from; None keeps none.
        recipe: the fields of `Recipe`. A sample longer than `max_length`, or than the model's context, is quarantined before
            the first step, never cut.

    Raises:
        ValueError: nothing to train on, nothing trainable, a checkpoint that does not fit, a loss that is not finite.
    """
    how = Recipe(**recipe)
    how.check()
    how.accumulation(distributed.size())
    distributed.check_launch(how.strategy)
    job = Job(
        student_path=student_path,
        revision=revision,
        device=device,
        attn=attn,
        max_image_pixels=max_image_pixels,
        seed=seed,
        start_from=start_from,
        out_dir=out_dir,
        checkpoints=checkpoints,
        resume_from=resume_point(how.resume, checkpoints),
        how=how,
        samples=samples,
    )
    try:
        return _lead(job, logger, callbacks)
    finally:
        free_memory()  # the tuned student is loaded next


def _lead(job: Job, logger: Any, callbacks: Sequence[Callback]) -> TuningResult:
    """The whole run, the other processes told of it once the data is checked."""
    started, how = time.perf_counter(), job.how
    model, processor = _load(job)
    limit = min(how.max_length or math.inf, context_length(model, processor))
    kept, lengths, bad = preflight(Collator(processor, job.max_image_pixels), job.samples, limit)
    if not kept:
        first = f"{bad[0].reason}, {bad[0].detail}"
        raise ValueError(f"none of the {len(job.samples)} selected samples can be used: {first}")
    _warn_of_long(job, bad, limit)
    job = replace(job, samples=kept, lengths=lengths)
    if distributed.size() > 1:
        distributed.announce(job.to_json(), job.checkpoints or job.out_dir.parent)
    module, steps, batches = _fit(job, model, processor, logger, callbacks)
    if job.checkpoints is not None:
        shutil.rmtree(job.checkpoints, ignore_errors=True)
    return TuningResult(
        steps=steps,
        loss=module.final_loss(),
        seconds=time.perf_counter() - started,
        trainable=count_trainable(module.model),
        quarantined=bad,
        padding=padding_share(batches, lengths),
        num_processes=distributed.size(),
        facts=processor_facts(processor) | {"dtype": how.dtype, "precision": how.precision, "attn": job.attn},
    )


def _warn_of_long(job: Job, bad: Sequence[Quarantined], limit: float) -> None:
    """Say that what is left is another sample than the selection: shorter texts, and pictures of other proportions.

    No error: where the limit is the model's own, there may be no way to use the rest, and what is left out stands in the account.
    """
    number = sum(row.reason == TOO_LONG for row in bad)
    if number <= MOST_TOO_LONG * len(job.samples):
        return
    most = job.how.max_length
    whose, way_out = "tuning.max_length", "tuning.max_length=null for the model's context, or "
    if most is None or most > limit:
        whose, way_out = "the model's context", ""
    tqdm.write(
        f"WARNING: tuning leaves out {number:,} of {len(job.samples):,} selected samples, each longer than {limit:,} tokens "
        f"({whose}) with its picture: what is left is no fair part of the selection. Way out: {way_out}student.max_image_pixels "
        "for smaller pictures. `delamo check pool=... student=... tuning=...` counts them beforehand",
        file=sys.stderr,
    )


def follow() -> None:
    """Take a share of every tuning run of the first process, until it is done."""

    def take_part(row: dict[str, Any]) -> None:
        job = Job.from_json(row)
        _fit(job, *_load(job), None, ())
        free_memory()

    distributed.follow(take_part)


def _load(job: Job) -> tuple[Any, Any]:
    pl.seed_everything(job.seed, workers=True, verbose=False)
    return load_base(
        job.student_path,
        revision=job.revision,
        dtype=job.how.dtype,
        device=distributed.device(job.device),
        attn=job.attn,
        four_bit=job.how.method == "qlora",
    )


def _fit(
    job: Job, model: Any, processor: Any, logger: Any, callbacks: Sequence[Callback]
) -> tuple[TunedStudent, int, list[list[int]]]:
    """(the tuned module, optimiser steps, the plan), saved by the first process."""
    how = job.how
    batches = plan_batches(job.lengths, batch_size=how.micro_batch_size, epochs=how.epochs, seed=job.seed)
    data = SelectionData(job.samples, batches, Collator(processor, job.max_image_pixels), how.num_workers)
    num_steps = math.ceil(len(batches) / how.accumulation())
    with _calm():
        trainable = make_trainable(model, job.start_from, how)
        _report(trainable)
        module = TunedStudent(trainable, how, num_steps=num_steps, num_batches=len(batches), seed=job.seed)
        if distributed.size() > 1:
            distributed.join(how.timeout_s, str(model.device))
        trainer = _trainer(job, logger, callbacks, str(model.device))
        trainer.fit(module, datamodule=data, ckpt_path=job.resume_from, weights_only=True)
        weights = gathered(module.model) if how.strategy == "fsdp" else None
        if distributed.rank() == 0:
            save_trained(module.model, job.out_dir, job.student_path, how, weights)
    return module, trainer.global_step, batches


def _report(model: Any) -> None:
    """What is trained, before hours go into it."""
    if distributed.rank() == 0:
        parts = ", ".join(f"{part} {count:,}" for part, count in count_trainable(model).items())
        tqdm.write(f"tuning: trainable parameters: {parts}; of {count_all(model):,} in all", file=sys.stderr)


def _trainer(job: Job, logger: Any, callbacks: Sequence[Callback], device: str) -> pl.Trainer:
    how, world, here = job.how, distributed.size(), distributed.local_size()
    return pl.Trainer(
        max_epochs=1,  # the planned batches of all epochs in one
        accelerator="cpu" if device == "cpu" else "auto",
        devices=here if world > 1 else _index(device),
        num_nodes=world // here,
        strategy=_strategy(how) if world > 1 else "auto",
        precision="bf16-mixed" if how.precision == "bf16" else "32-true",
        accumulate_grad_batches=how.accumulation(world),
        gradient_clip_val=how.gradient_clip or None,
        logger=logger or False,
        callbacks=[*checkpointing(job.checkpoints), *callbacks],
        enable_checkpointing=job.checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,  # the plan is shared out already
    )


def _index(device: str) -> int | list[int]:
    """Lightning's name of a device: `cuda:1` is [1], otherwise any one."""
    number = device.partition(":")[2]
    return [int(number)] if number else 1


def _strategy(how: Recipe) -> Any:
    """Weights on every process, or (`fsdp`) in shards over all of them."""
    from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

    timeout = timedelta(seconds=how.timeout_s)
    if how.strategy == "fsdp":
        sizes = {"data_parallel_size": distributed.size(), "tensor_parallel_size": 1}
        return ModelParallelStrategy(**sizes, save_distributed_checkpoint=False, timeout=timeout)
    return DDPStrategy(timeout=timeout)


def preflight(
    collator: Collator, samples: Sequence[Sample], limit: float
) -> tuple[list[Sample], list[int], list[Quarantined]]:
    """(usable samples, their lengths in tokens, the others with the reason), found before the first step."""
    kept: list[Sample] = []
    lengths: list[int] = []
    bad: list[Quarantined] = []
    for sample in tqdm(samples, desc="tuning: check the selection", delay=5, unit="sample"):
        try:
            length = collator([sample])["input_ids"].shape[1]
        except (SampleError, ImageError) as error:
            bad.append(Quarantined(id=sample.id, stage="tuning", reason=error.reason, detail=error.detail))
            continue
        if length > limit:
            detail = f"{length} tokens with its picture, the limit is {limit}"
            bad.append(Quarantined(id=sample.id, stage="tuning", reason=TOO_LONG, detail=detail))
        else:
            kept.append(sample)
            lengths.append(length)
    return kept, lengths, bad


class _calm:
    """Lightning without banners, tips and advice about loader workers."""

    def __enter__(self) -> None:
        names = ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch.utilities.rank_zero")
        self.loggers = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
        for logger, _ in self.loggers:
            logger.setLevel(logging.ERROR)
        self.filters = warnings.catch_warnings()
        self.filters.__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings(
            "ignore", message=".*gradient_checkpointing.*", category=FutureWarning
        )  # by its new name
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|Checkpoint directory).*")

    def __exit__(self, *error: object) -> None:
        self.filters.__exit__(*error)
        for logger, level in self.loggers:
            logger.setLevel(level)
