"""How tests tune tiny models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.records import Sample
from delamo.tuning.config import TuningConfig
from delamo.tuning.job import TuningJob
from support.configs import node

RECIPE = {
    "lora_rank": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "learning_rate": 1e-2,
    "projector_learning_rate": None,
    "batch_size": 4,
    "micro_batch_size": 2,
    "loss_average": "tokens",
    "epochs": 2,
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "max_length": None,
    "precision": "32",
    "gradient_checkpointing": False,
    "target_modules": "language_model",
    "resume": "auto",
    "num_workers": 0,
}
OF_STUDENT = {field.name for field in dataclasses.fields(HuggingFaceStudentConfig)} - {"name", "dtype"}


def recipe(**changes: Any) -> TuningConfig:
    """The embedded student's recipe with some fields changed, enums by value."""
    config = node("tuning", "micro_lora")
    values = {
        name: type(getattr(config, name))(value) if isinstance(getattr(config, name), Enum) else value
        for name, value in changes.items()
    }
    return dataclasses.replace(config, **values)


def job(student: Path | str, samples: Sequence[Sample], out_dir: Path, *, seed: int, **changes: Any) -> TuningJob:
    """A tuning of a tiny student: `changes` are fields of the job, of the student's config, or of the recipe."""
    fields = {name: changes.pop(name) for name in ("start_from", "checkpoints") if name in changes}
    of_student = {name: changes.pop(name) for name in list(changes) if name in OF_STUDENT and name != "batch_size"}
    config = dataclasses.replace(node("student", "micro"), path=str(student), revision=None, **of_student)
    return TuningJob(student=config, config=recipe(**changes), samples=samples, out_dir=out_dir, seed=seed, **fields)


def tune(student, samples, out_dir: Path, *, seed: int, callbacks=(), **changes: Any):
    """Tune a tiny student; see `job`."""
    from delamo.tuning.fit import fit

    return fit(job(student, samples, out_dir, seed=seed, **changes), callbacks=callbacks)
