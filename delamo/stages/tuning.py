"""Targeted tuning (paper, section 3.5): LoRA on the selected samples, with Lightning; only the adapter is saved.

The paper states the rate (2e-4), the batch (128) and the machine (8 x A100-40GB); rank, epochs and schedule are those of
LLaVA-1.5's LoRA recipe, which its timings imply.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from tqdm import tqdm

from delamo.data.images import ImageError
from delamo.models.adapter import load_adapter, name_base
from delamo.models.chat import SampleError
from delamo.models.examples import Collator
from delamo.models.student import context_length, load_base
from delamo.records import Quarantined, Sample
from delamo.stages.batches import ResumableLoader, plan_batches

LANGUAGE_MODEL = r".*language_model.*\.(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""Attention and MLP of the language model. PEFT's own short names would hit the vision tower too."""
COMPONENTS = ("vision_tower", "visual", "multi_modal_projector", "lm_head", "embed_tokens", "language_model")
CHECKPOINT_EVERY = 200  # optimiser steps


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to tune: the fields of `delamo.config.TuningConfig`, which says what each means."""

    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    learning_rate: float
    projector_learning_rate: float | None
    batch_size: int
    micro_batch_size: int
    epochs: int
    warmup_ratio: float
    weight_decay: float
    gradient_clip: float
    max_length: int | None
    precision: str
    gradient_checkpointing: bool
    target_modules: str
    resume: str
    num_workers: int

    @property
    def accumulation(self) -> int:
        """Micro-batches per optimiser step."""
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"tuning.batch_size is {self.batch_size}: choose a multiple of tuning.micro_batch_size, {self.micro_batch_size}"
            )
        return self.batch_size // self.micro_batch_size


def tune(
    student_path: str,
    samples: Sequence[Sample],
    out_dir: Path,
    *,
    seed: int,
    revision: str | None = None,
    device: str = "auto",
    attn: str = "sdpa",
    start_from: Path | None = None,
    checkpoints: Path | None = None,
    logger: Any = None,
    callbacks: Sequence[Callback] = (),
    **recipe: Any,
) -> TuningResult:
    """Tune a student on samples and write the adapter to `out_dir` in PEFT's format.

    Args:
        start_from: an adapter to go on from.
        checkpoints: folder for checkpoints to resume from; None keeps none.
        recipe: the fields of `Recipe`. A sample longer than `max_length`, or than the model's context, is quarantined before
            the first step, never cut.

    Raises:
        ValueError: nothing to train on, nothing trainable, a checkpoint that does not fit, a loss that is not finite.
    """
    started = time.perf_counter()
    how = Recipe(**recipe)
    accumulation = how.accumulation
    pl.seed_everything(seed, workers=True, verbose=False)
    model, processor = load_base(student_path, revision=revision, dtype="float32", device=device, attn=attn)
    collator = Collator(processor)
    limit = min(how.max_length or math.inf, context_length(model, processor))
    kept, lengths, bad = preflight(collator, samples, limit)
    if not kept:
        raise ValueError(f"none of the {len(samples)} selected samples can be used: {bad[0].reason}, {bad[0].detail}")
    batches = plan_batches(lengths, batch_size=how.micro_batch_size, epochs=how.epochs, seed=seed)
    data = SelectionData(kept, batches, collator, how.num_workers)
    with _calm():
        module = TunedStudent(with_lora(model, start_from, how), how, num_steps=math.ceil(len(batches) / accumulation))
        trainer = _trainer(how, logger, checkpoints, callbacks)
        trainer.fit(module, datamodule=data, ckpt_path=_resume_point(how.resume, checkpoints), weights_only=True)
    save_adapter(module.model, out_dir, student_path)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return TuningResult(
        steps=trainer.global_step,
        loss=module.final_loss(),
        seconds=time.perf_counter() - started,
        trainable=count_trainable(module.model),
        quarantined=bad,
    )


def _trainer(how: Recipe, logger: Any, checkpoints: Path | None, callbacks: Sequence[Callback]) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=1,  # the planned batches of all epochs in one
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if how.precision == "bf16" else "32-true",
        accumulate_grad_batches=how.accumulation,
        gradient_clip_val=how.gradient_clip or None,
        logger=logger or False,
        callbacks=[*_checkpointing(checkpoints), *callbacks],
        enable_checkpointing=checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


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
            bad.append(Quarantined(id=sample.id, stage="tuning", reason="too long", detail=detail))
        else:
            kept.append(sample)
            lengths.append(length)
    return kept, lengths, bad


def with_lora(model: Any, start_from: Path | None, how: Recipe) -> Any:
    """The model with a fresh LoRA, or with the adapter in `start_from` made trainable again.

    Raises:
        ValueError: no module matches, or a matching one shares its weights with another.
    """
    from peft import LoraConfig, get_peft_model

    if start_from is not None:
        tuned = load_adapter(model, start_from)
        for name, parameter in tuned.named_parameters():
            parameter.requires_grad = "lora_" in name or "modules_to_save" in name
    else:
        targets = LANGUAGE_MODEL if how.target_modules == "language_model" else how.target_modules
        _refuse_tied(model, targets)
        config = LoraConfig(
            r=how.lora_rank,
            lora_alpha=how.lora_alpha,
            lora_dropout=how.lora_dropout,
            target_modules=targets,
            modules_to_save=["multi_modal_projector"] if how.projector_learning_rate is not None else None,
            task_type="CAUSAL_LM",
        )
        try:
            tuned = get_peft_model(model, config)
        except ValueError as error:
            raise ValueError(f"tuning.target_modules is {how.target_modules}: {error}") from error
    if how.gradient_checkpointing:
        tuned.enable_input_require_grads()
        tuned.gradient_checkpointing_enable()
    return tuned.train()


def _refuse_tied(model: Any, targets: str) -> None:
    import re

    if not model.config.get_text_config().tie_word_embeddings:
        return
    tied = [name for name, _ in model.named_modules() if re.fullmatch(targets, name) and "lm_head" in name]
    if tied:
        raise ValueError(
            f"tuning.target_modules matches {tied[0]}, which shares its weights with the embeddings: leave it out"
        )


def count_trainable(model: Any) -> dict[str, int]:
    """Trainable parameters by component.

    Raises:
        ValueError: there are none.
    """
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            component = next((part for part in COMPONENTS if part in name), "other")
            counts[component] = counts.get(component, 0) + parameter.numel()
    if not counts:
        raise ValueError("no parameter is trainable: check tuning.target_modules")
    return counts


def save_adapter(model: Any, out_dir: Path, base: str) -> None:
    """Write the adapter alone, the base named as the user named it, and read it back to check it."""
    from delamo.models.adapter import check_adapter, check_keys

    model.save_pretrained(out_dir, save_embedding_layers=False)
    (out_dir / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    name_base(out_dir, base)
    check_adapter(out_dir)
    check_keys(model, out_dir)


class TunedStudent(pl.LightningModule):
    """The student under tuning: next-token loss on the reply, AdamW, cosine after a linear warm-up."""

    def __init__(self, model: Any, how: Recipe, *, num_steps: int) -> None:
        super().__init__()
        self.model = model
        self.strict_loading = False  # a checkpoint holds the trainable weights alone
        self.rates = {"lora": how.learning_rate, "projector": how.projector_learning_rate}
        self.weight_decay, self.num_steps = how.weight_decay, num_steps
        self.num_warmup = math.ceil(how.warmup_ratio * num_steps)
        self.losses: list[float] = []
        count_trainable(model)

    def on_train_start(self) -> None:
        """A bar for what takes longer than a few seconds."""
        total = len(self.trainer.datamodule.batches)
        self.bar = tqdm(total=total, initial=len(self.losses), desc="tune", delay=5, unit="batch")

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Mean loss over the reply tokens of one micro-batch, in nats."""
        labels = batch.pop("labels")[:, 1:]
        hidden = self.model.base_model.model.model(**batch).last_hidden_state[:, :-1]
        scored = labels != -100  # the vocabulary's logits are made for the reply alone
        logits = self.model.base_model.model.lm_head(hidden[scored]).float()
        loss = torch.nn.functional.cross_entropy(logits, labels[scored])
        if not loss.isfinite():
            raise ValueError(f"the loss is {loss.item()} at batch {batch_idx}: lower tuning.learning_rate")
        self.losses.append(loss.item())
        self.log("train/loss", loss)
        self.bar.update()
        return loss

    def on_train_end(self) -> None:
        self.bar.close()

    def final_loss(self) -> float:
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(tail) / len(tail)

    def configure_optimizers(self) -> dict[str, Any]:
        groups: dict[str, list[torch.nn.Parameter]] = {"lora": [], "projector": []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups["projector" if "multi_modal_projector" in name else "lora"].append(parameter)
        options = [{"params": rows, "lr": self.rates[name]} for name, rows in groups.items() if rows]
        optimizer = torch.optim.AdamW(options, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scale(self, step: int) -> float:
        if step < self.num_warmup:
            return (step + 1) / self.num_warmup
        done = (step - self.num_warmup) / max(1, self.num_steps - self.num_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the adapter; the base model is where it was loaded from."""
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trainable}
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = list(checkpoint["losses"])


class SelectionData(pl.LightningDataModule):
    """The selected samples in their planned batches."""

    def __init__(
        self, samples: Sequence[Sample], batches: list[list[int]], collator: Collator, num_workers: int
    ) -> None:
        super().__init__()
        self.samples, self.batches, self.collator, self.num_workers = samples, batches, collator, num_workers

    def train_dataloader(self) -> ResumableLoader:
        ids = [[self.samples[i].id for i in batch] for batch in self.batches]
        plan = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
        return ResumableLoader(self.samples, self.batches, plan, collate_fn=self.collator, num_workers=self.num_workers)


def _checkpointing(folder: Path | None) -> list[Callback]:
    if folder is None:
        return []
    return [ModelCheckpoint(folder, filename="{step:08d}", every_n_train_steps=CHECKPOINT_EVERY, save_top_k=-1)]


def _resume_point(resume: str, folder: Path | None) -> str | None:
    """The checkpoint to go on from: the newest that can be read.

    Raises:
        ValueError: `must` without a checkpoint, a URL, or a path that is not there.
    """
    if resume == "never":
        return None
    if resume not in ("auto", "must"):
        if "://" in resume or not Path(resume).is_file():
            raise ValueError(
                f"tuning.resume is {resume}: no such file; choose auto, never, must or the path of a checkpoint"
            )
        return resume
    for path in sorted(folder.glob("*.ckpt"), reverse=True) if folder else []:
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - a torn file fails in many ways; the one before it may be whole
            warnings.warn(f"{path} cannot be read ({error}): falling back to the checkpoint before it", stacklevel=2)
            continue
        return str(path)
    if resume == "must":
        raise ValueError(f"tuning.resume is must, and {folder} holds no readable checkpoint")
    return None


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
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)  # peft's
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|Checkpoint directory).*")

    def __exit__(self, *error: object) -> None:
        self.filters.__exit__(*error)
        for logger, level in self.loggers:
            logger.setLevel(level)
