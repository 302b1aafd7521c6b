"""Tuning of the student on selected samples, with Lightning (paper, section 3.5); only what was trained is saved."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy
from tqdm import tqdm

from delamo.data.quarantine import UnusableError
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.components import count_all, count_trainable
from delamo.models.hf.loading import choose_device, context_length, free_memory, load_base
from delamo.models.hf.processors import processor_facts
from delamo.records import Quarantined, Sample
from delamo.tuning import distributed
from delamo.tuning.batches import MicroBatch, padding_fraction, plan_batches, plan_micro_batches
from delamo.tuning.checkpoints import KeepLastTwo, resume_point
from delamo.tuning.config import Precision, Strategy, TuningConfig, TuningMethod
from delamo.tuning.job import TuningJob
from delamo.tuning.module import SelectionData, TunedStudent
from delamo.tuning.sharding import gather_weights
from delamo.tuning.trainable import make_trainable, save_trained

TOO_LONG = "too long"
MOST_TOO_LONG = 0.1
"""Fraction of a selection that may be left out for its length without a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """The account of a tuning run."""

    steps: int
    """Optimizer steps."""
    loss: float
    """Mean over the last tenth of the steps, in nats per reply token (`tuning.loss_average=samples`: per sample)."""
    trainable: dict[str, int]
    """Trainable parameters by component."""
    quarantined: list[Quarantined]
    padding: float
    """Fraction of the batches' tokens that was padding."""
    num_processes: int
    facts: dict[str, str]
    """Preprocessing and number formats; see `processor_facts`."""


def fit(job: TuningJob, *, logger: Any = None, callbacks: Sequence[Callback] = ()) -> TuningResult:
    """Tune a student on samples and write the adapter to `job.out_dir`.

    Under torchrun the other processes take their share (`run_worker`); only this one writes.

    Args:
        job: the student, the samples and the config. A sample longer than `tuning.max_length`, or than the model's
            context, is quarantined before the first step, never cut.
        logger: Lightning's.
        callbacks: Lightning's.

    Raises:
        ValueError: nothing to train on, nothing trainable, a checkpoint that does not fit, or a loss that is not
            finite.
    """
    config = job.config
    config.check()
    config.accumulation(distributed.world_size())
    distributed.check_launch(config.strategy)
    job = replace(job, resume_from=resume_point(config.resume, job.checkpoints))
    try:
        model, processor = load_model(job)
        job, quarantined = preflight(job, model, processor)
        if distributed.world_size() > 1:
            distributed.send_job(job.to_json(), job.checkpoints or job.out_dir.parent)
        with quiet_lightning():
            run = prepare(job, model, processor, logger, callbacks)
            run.trainer.fit(run.module, datamodule=run.data, ckpt_path=job.resume_from, weights_only=True)
            save(run)
        if job.checkpoints is not None:
            shutil.rmtree(job.checkpoints, ignore_errors=True)
        return TuningResult(
            steps=run.trainer.global_step,
            loss=run.module.final_loss(),
            trainable=count_trainable(run.module.model),
            quarantined=quarantined,
            padding=padding_fraction([micro_batch.samples for micro_batch in run.plan], job.lengths),
            num_processes=distributed.world_size(),
            facts=processor_facts(processor)
            | {"dtype": config.dtype.value, "precision": config.precision.value, "attn": job.student.attn.value},
        )
    finally:
        model = run = None  # this frame would keep them
        free_memory()  # the tuned student is loaded next


def run_worker() -> None:
    """Take a share of every tuning run of rank 0, until it is done."""
    for row in distributed.receive_jobs():
        _take_part(TuningJob.from_json(row))
        free_memory()


def _take_part(job: TuningJob) -> None:
    """Train and save with the other processes, as `fit` does on rank 0."""
    model, processor = load_model(job)
    with quiet_lightning():
        run = prepare(job, model, processor, None, ())
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=job.resume_from, weights_only=True)
        save(run)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A tuning run, ready for the trainer."""

    job: TuningJob
    trainer: pl.Trainer
    module: TunedStudent
    data: SelectionData
    plan: list[MicroBatch]
    """Of all epochs and processes."""


def load_model(job: TuningJob) -> tuple[Any, Any]:
    """Seed every generator, set the threads, and load the student and its processor."""
    pl.seed_everything(job.seed, workers=True, verbose=False)
    device = distributed.device(job.student.device)
    if choose_device(device) == "cpu":
        torch.set_num_threads(job.cpu_threads)
    return load_base(
        job.student.path,
        revision=job.student.revision,
        dtype=job.config.dtype.value,
        device=device,
        attn=job.student.attn.value,
        four_bit=job.config.method is TuningMethod.qlora,
    )


def preflight(job: TuningJob, model: Any, processor: Any) -> tuple[TuningJob, list[Quarantined]]:
    """Leave out what cannot be trained on, before the first step.

    Returns:
        (the job with the usable samples and their lengths, the other samples with the reason).

    Raises:
        ValueError: no sample is usable.
    """
    limit = min(job.config.max_length or math.inf, context_length(model, processor))
    collator = Collator(processor, job.student.max_image_pixels)
    usable, lengths, reply_tokens, quarantined = check_samples(collator, job.samples, limit)
    if not usable:
        first = f"{quarantined[0].reason}, {quarantined[0].detail}"
        raise ValueError(f"none of the {len(job.samples)} selected samples can be used: {first}")
    _warn_of_long(job, quarantined, limit)
    return replace(job, samples=usable, lengths=lengths, reply_tokens=reply_tokens), quarantined


def check_samples(
    collator: Collator, samples: Sequence[Sample], limit: float
) -> tuple[list[Sample], list[int], list[int], list[Quarantined]]:
    """Collate each sample alone.

    Args:
        collator: of the training.
        samples: the selection.
        limit: the most tokens that a sample may have.

    Returns:
        (usable samples, their lengths in tokens, those of their replies, the other samples with the reason).
    """
    usable: list[Sample] = []
    lengths: list[int] = []
    reply_tokens: list[int] = []
    quarantined: list[Quarantined] = []
    for sample in tqdm(samples, desc="tuning: check the selection", delay=5, unit="sample"):
        try:
            labels = collator([sample])["labels"]
        except UnusableError as error:
            quarantined.append(Quarantined(id=sample.id, stage="tuning", reason=error.reason, detail=error.detail))
            continue
        length = labels.shape[1]
        if length > limit:
            detail = f"{length} tokens with its picture, the limit is {limit}"
            quarantined.append(Quarantined(id=sample.id, stage="tuning", reason=TOO_LONG, detail=detail))
        else:
            usable.append(sample)
            lengths.append(length)
            reply_tokens.append(int((labels != IGNORED).sum()))
    return usable, lengths, reply_tokens, quarantined


def _warn_of_long(job: TuningJob, quarantined: Sequence[Quarantined], limit: float) -> None:
    """Warn where samples left out for their length leave another mix of texts and image sizes than the selection's.

    No error: where the limit is the model's own, there may be no way to use the others, and each is a quarantined row.
    """
    num_long = sum(row.reason == TOO_LONG for row in quarantined)
    if num_long <= MOST_TOO_LONG * len(job.samples):
        return
    max_length = job.config.max_length
    whose, way_out = "tuning.max_length", "tuning.max_length=null for the model's context, or "
    if max_length is None or max_length > limit:
        whose, way_out = "the model's context", ""
    tqdm.write(
        f"WARNING: tuning leaves out {num_long:,} of {len(job.samples):,} selected samples, each longer than {limit:,} "
        f"tokens ({whose}) with its image: the rest does not represent the selection. Way out: {way_out}"
        "student.max_image_pixels for smaller images. `delamo check pool=... student=... tuning=...` counts them "
        "beforehand",
        file=sys.stderr,
    )


def prepare(job: TuningJob, model: Any, processor: Any, logger: Any, callbacks: Sequence[Callback]) -> PreparedRun:
    """Plan the batches, make the weights trainable, and join the process group where there are several processes."""
    config = job.config
    batches = plan_batches(job.lengths, batch_size=config.batch_size, epochs=config.epochs, seed=job.seed)
    average, accumulation = config.loss_average, config.accumulation(1)
    plan = plan_micro_batches(batches, job.reply_tokens, accumulation=accumulation, average=average)
    data = SelectionData(job.samples, plan, Collator(processor, job.student.max_image_pixels), config.num_workers)
    trainable = make_trainable(model, job.start_from, config)
    if distributed.rank() == 0:  # before hours go into it
        parts = ", ".join(f"{part} {count:,}" for part, count in count_trainable(trainable).items())
        tqdm.write(f"tuning: trainable parameters: {parts}; of {count_all(trainable):,} in all", file=sys.stderr)
    module = TunedStudent(trainable, config, plan, seed=job.seed)
    if distributed.world_size() > 1:
        distributed.init_process_group(config.timeout_s, str(model.device))
    return PreparedRun(job, _trainer(job, logger, callbacks, str(model.device)), module, data, plan)


def save(run: PreparedRun) -> None:
    """Write what was trained; every process takes part in gathering shards, the first one writes."""
    config = run.job.config
    weights = gather_weights(run.module.model) if config.strategy is Strategy.fsdp else None
    if distributed.rank() == 0:
        save_trained(run.module.model, run.job.out_dir, run.job.student.path, config, weights)


def _trainer(job: TuningJob, logger: Any, callbacks: Sequence[Callback], device: str) -> pl.Trainer:
    """Make the trainer: the planned batches of all epochs are one epoch to it."""
    config, world_size = job.config, distributed.world_size()
    local_world_size = distributed.local_world_size()
    return pl.Trainer(
        max_epochs=1,
        accelerator="cpu" if device == "cpu" else "auto",
        devices=local_world_size if world_size > 1 else _devices(device),
        num_nodes=world_size // local_world_size,
        strategy=_strategy(config) if world_size > 1 else "auto",
        precision="bf16-mixed" if config.precision is Precision.bf16 else "32-true",
        accumulate_grad_batches=config.accumulation(world_size),
        gradient_clip_val=config.gradient_clip or None,
        logger=logger or False,
        callbacks=[*([KeepLastTwo(job.checkpoints)] if job.checkpoints else []), *callbacks],
        enable_checkpointing=job.checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,  # each process has its own batches already
    )


def _devices(device: str) -> int | list[int]:
    """Name a device as Lightning does: `cuda:1` is [1], any other is 1, one of whatever there is."""
    number = device.partition(":")[2]
    return [int(number)] if number else 1


def _strategy(config: TuningConfig) -> DDPStrategy | ModelParallelStrategy:
    """Keep the weights whole on every process, or (`fsdp`) shard them over all of them."""
    timeout = timedelta(seconds=config.timeout_s)
    if config.strategy is Strategy.fsdp:
        sizes = {"data_parallel_size": distributed.world_size(), "tensor_parallel_size": 1}
        return ModelParallelStrategy(**sizes, save_distributed_checkpoint=False, timeout=timeout)
    return DDPStrategy(timeout=timeout)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's banners, tips and advice about loader workers out of the way."""
    names = ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch.utilities.rank_zero")
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for logger, _ in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            # PyTorch's advice to call it by its new name, which PEFT and transformers do not follow yet
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|Checkpoint directory).*")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
