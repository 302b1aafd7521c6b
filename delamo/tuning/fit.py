"""Targeted tuning (paper, section 3.5): LoRA on the selected samples, with Lightning; only what was trained is saved.

The paper states the rate (2e-4), the batch (128) and the machine (8 x A100-40GB); rank, epochs and schedule are those of
LLaVA-1.5's LoRA recipe, which its timings imply.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
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
from delamo.tuning.config import Precision, Strategy, TuningConfig, TuningMethod
from delamo.tuning.job import TuningJob
from delamo.tuning.module import SelectionData, TunedStudent
from delamo.tuning.sharding import gathered
from delamo.tuning.trainable import make_trainable, save_trained

TOO_LONG = "too long"
MOST_TOO_LONG = 0.1
"""Part of a selection that may be left out for its length before that is said aloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """What a tuning run did."""

    steps: int
    """Optimizer steps."""
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


def fit(job: TuningJob, *, logger: Any = None, callbacks: Sequence[Callback] = ()) -> TuningResult:
    """Tune a student on samples and write the adapter to `job.out_dir`.

    Under torchrun the other processes take their share (`follow`); only this one writes.

    Args:
        job: what is tuned, on what, and how. A sample longer than `tuning.max_length`, or than the model's context, is
            quarantined before the first step, never cut.
        logger: Lightning's.
        callbacks: Lightning's.

    Raises:
        ValueError: nothing to train on, nothing trainable, a checkpoint that does not fit, a loss that is not finite.
    """
    started, config = time.perf_counter(), job.config
    config.check()
    config.accumulation(distributed.size())
    distributed.check_launch(config.strategy.value)
    job = replace(job, resume_from=resume_point(config.resume, job.checkpoints))
    try:
        model, processor = load_model(job)
        job, quarantined = check_samples(job, model, processor)
        if distributed.size() > 1:
            distributed.announce(job.to_json(), job.checkpoints or job.out_dir.parent)
        with quiet_lightning():
            run = prepare(job, model, processor, logger, callbacks)
            run.trainer.fit(run.module, datamodule=run.data, ckpt_path=job.resume_from, weights_only=True)
            save(run)
        if job.checkpoints is not None:
            shutil.rmtree(job.checkpoints, ignore_errors=True)
        return TuningResult(
            steps=run.trainer.global_step,
            loss=run.module.final_loss(),
            seconds=time.perf_counter() - started,
            trainable=count_trainable(run.module.model),
            quarantined=quarantined,
            padding=padding_share(run.batches, job.lengths),
            num_processes=distributed.size(),
            facts=processor_facts(processor)
            | {"dtype": config.dtype.value, "precision": config.precision.value, "attn": job.student.attn.value},
        )
    finally:
        free_memory()  # the tuned student is loaded next


def follow() -> None:
    """Take a share of every tuning run of the first process, until it is done."""

    def take_part(row: dict[str, Any]) -> None:
        job = TuningJob.from_json(row)
        model, processor = load_model(job)
        with quiet_lightning():
            run = prepare(job, model, processor, None, ())
            run.trainer.fit(run.module, datamodule=run.data, ckpt_path=job.resume_from, weights_only=True)
            save(run)
        free_memory()

    distributed.follow(take_part)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A tuning run, ready for the trainer."""

    job: TuningJob
    trainer: pl.Trainer
    module: TunedStudent
    data: SelectionData
    batches: list[list[int]]
    """The plan: indices of the samples of each micro-batch, of all epochs."""


def load_model(job: TuningJob) -> tuple[Any, Any]:
    """Seed every generator, and load the student and its processor."""
    pl.seed_everything(job.seed, workers=True, verbose=False)
    return load_base(
        job.student.path,
        revision=job.student.revision,
        dtype=job.config.dtype.value,
        device=distributed.device(job.student.device),
        attn=job.student.attn.value,
        four_bit=job.config.method is TuningMethod.qlora,
    )


def check_samples(job: TuningJob, model: Any, processor: Any) -> tuple[TuningJob, list[Quarantined]]:
    """Leave out what cannot be trained on, before the first step.

    Returns:
        (the job with the usable samples and their lengths, the others with the reason).

    Raises:
        ValueError: no sample is usable.
    """
    limit = min(job.config.max_length or math.inf, context_length(model, processor))
    usable, lengths, quarantined = preflight(Collator(processor, job.student.max_image_pixels), job.samples, limit)
    if not usable:
        first = f"{quarantined[0].reason}, {quarantined[0].detail}"
        raise ValueError(f"none of the {len(job.samples)} selected samples can be used: {first}")
    _warn_of_long(job, quarantined, limit)
    return replace(job, samples=usable, lengths=lengths), quarantined


def prepare(job: TuningJob, model: Any, processor: Any, logger: Any, callbacks: Sequence[Callback]) -> PreparedRun:
    """Plan the batches, make the weights trainable, and join the other processes."""
    config = job.config
    batches = plan_batches(job.lengths, batch_size=config.micro_batch_size, epochs=config.epochs, seed=job.seed)
    collator = Collator(processor, job.student.max_image_pixels)
    data = SelectionData(job.samples, batches, collator, config.num_workers)
    trainable = make_trainable(model, job.start_from, config)
    if distributed.rank() == 0:  # said before hours go into it
        parts = ", ".join(f"{part} {count:,}" for part, count in count_trainable(trainable).items())
        tqdm.write(f"tuning: trainable parameters: {parts}; of {count_all(trainable):,} in all", file=sys.stderr)
    num_steps = math.ceil(len(batches) / config.accumulation(1))
    module = TunedStudent(trainable, config, num_steps=num_steps, num_batches=len(batches), seed=job.seed)
    if distributed.size() > 1:
        distributed.join(config.timeout_s, str(model.device))
    return PreparedRun(job, _trainer(job, logger, callbacks, str(model.device)), module, data, batches)


def save(run: PreparedRun) -> None:
    """Write what was trained; every process takes part in gathering shards, the first one writes."""
    config = run.job.config
    weights = gathered(run.module.model) if config.strategy is Strategy.fsdp else None
    if distributed.rank() == 0:
        save_trained(run.module.model, run.job.out_dir, run.job.student.path, config, weights)


def _warn_of_long(job: TuningJob, quarantined: Sequence[Quarantined], limit: float) -> None:
    """Say that what is left is another sample than the selection: shorter texts, and images of other proportions.

    No error: where the limit is the model's own, there may be no way to use the rest, and what is left out stands in the account.
    """
    number = sum(row.reason == TOO_LONG for row in quarantined)
    if number <= MOST_TOO_LONG * len(job.samples):
        return
    most = job.config.max_length
    whose, way_out = "tuning.max_length", "tuning.max_length=null for the model's context, or "
    if most is None or most > limit:
        whose, way_out = "the model's context", ""
    tqdm.write(
        f"WARNING: tuning leaves out {number:,} of {len(job.samples):,} selected samples, each longer than {limit:,} tokens "
        f"({whose}) with its picture: what is left is no fair part of the selection. Way out: {way_out}student.max_image_pixels "
        "for smaller pictures. `delamo check pool=... student=... tuning=...` counts them beforehand",
        file=sys.stderr,
    )


def _trainer(job: TuningJob, logger: Any, callbacks: Sequence[Callback], device: str) -> pl.Trainer:
    config, world, here = job.config, distributed.size(), distributed.local_size()
    return pl.Trainer(
        max_epochs=1,  # the planned batches of all epochs in one
        accelerator="cpu" if device == "cpu" else "auto",
        devices=here if world > 1 else _index(device),
        num_nodes=world // here,
        strategy=_strategy(config) if world > 1 else "auto",
        precision="bf16-mixed" if config.precision is Precision.bf16 else "32-true",
        accumulate_grad_batches=config.accumulation(world),
        gradient_clip_val=config.gradient_clip or None,
        logger=logger or False,
        callbacks=[*checkpointing(job.checkpoints), *callbacks],
        enable_checkpointing=job.checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,  # the plan is shared out already
    )


def _index(device: str) -> int | list[int]:
    """Name a device as Lightning does: `cuda:1` is [1], otherwise any one."""
    number = device.partition(":")[2]
    return [int(number)] if number else 1


def _strategy(config: TuningConfig) -> Any:
    """Keep the weights whole on every process, or (`fsdp`) shard them over all of them."""
    from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

    timeout = timedelta(seconds=config.timeout_s)
    if config.strategy is Strategy.fsdp:
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
            # by its new name
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|Checkpoint directory).*")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
