"""Checkpoints of a tuning run: written every so many steps, and found again after a kill."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

EVERY = 200  # optimiser steps


def checkpointing(folder: Path | None) -> list[Callback]:
    """Lightning's callback, where checkpoints are kept at all."""
    if folder is None:
        return []
    return [ModelCheckpoint(folder, filename="{step:08d}", every_n_train_steps=EVERY, save_top_k=-1)]


def resume_point(resume: str, folder: Path | None) -> str | None:
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
