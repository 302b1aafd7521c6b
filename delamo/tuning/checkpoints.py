"""Checkpoints of a tuning run: the last two are kept, and the newest readable one is found after a kill."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

EVERY_N_STEPS = 200


class KeepLastTwo(Checkpoint):
    """Write `FOLDER/step=N.ckpt` every so many optimizer steps, and remove all but that and the one before it.

    A checkpoint is 4 GB for LoRA of 7 billion parameters, and about 80 GB for full tuning. Lightning's ModelCheckpoint
    would keep every one that a run was resumed from as well, and write that step again in the middle of the next one's
    micro-batches, whose gradients it does not hold.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last_step = 0
        """The last step that is saved."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the step that training resumes from as saved."""
        self.last_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Write a checkpoint where one is due; every process takes part, and waits until it is written."""
        step = trainer.global_step
        if step % EVERY_N_STEPS or step == self.last_step:
            return
        self.last_step, path = step, self.folder / f"step={step:08d}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for old in superseded(path):
                trainer.strategy.remove_checkpoint(old)


def superseded(newest: Path) -> list[Path]:
    """Return the checkpoints to remove: all but the newest and the one before it.

    Those of later steps than the newest are of an abandoned run.
    """
    others = sorted(path for path in newest.parent.glob("*.ckpt") if path != newest)
    before = [path for path in others if path < newest]
    return [path for path in others if path not in before[-1:]]


def resume_point(resume: str, folder: Path | None) -> str | None:
    """Return the checkpoint to resume from: the newest that can be read; None to start anew.

    Args:
        resume: `tuning.resume`: auto, never, must, or a checkpoint's path.
        folder: where checkpoints are kept; None keeps none.

    Raises:
        ValueError: `must` without a checkpoint, a URL, or a path that does not exist.
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
        except Exception as error:  # a torn file fails in many ways; the one before it may be whole
            warnings.warn(f"{path} cannot be read ({error}): falling back to the checkpoint before it", stacklevel=2)
            continue
        return str(path)
    if resume == "must":
        raise ValueError(f"tuning.resume is must, and {folder} holds no readable checkpoint")
    return None
