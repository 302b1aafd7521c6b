"""A tuning run as data, sent to other processes as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from delamo.config.compose import as_dict
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.records import Sample, from_dict, to_dict
from delamo.tuning.config import TuningConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """One tuning of a student."""

    student: HuggingFaceStudentConfig
    """The model that is tuned; `path`, `revision`, `device`, `attn` and `max_image_pixels` are read."""
    config: TuningConfig
    samples: Sequence[Sample]
    """The selection; once `preflight` has run, the usable samples of it."""
    out_dir: Path
    """Where the adapter goes, in PEFT's format (full tuning: the trained weights)."""
    seed: int
    cpu_threads: int = 1
    """Of each process that tunes on a CPU."""
    checkpoints: Path | None = None
    """Folder for checkpoints to resume from; None keeps none."""
    start_from: Path | None = None
    """An adapter to continue; None starts a new one."""
    resume_from: str | None = None
    """The checkpoint of an earlier attempt; None starts anew."""
    lengths: Sequence[int] = ()
    """Tokens of each sample, once `preflight` has run."""
    reply_tokens: Sequence[int] = ()
    """Tokens of each sample's reply, which the loss is on; as `lengths`."""

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values, paths absolute."""
        return {
            "student": as_dict(self.student),
            "config": as_dict(self.config),
            "samples": [to_dict(sample) for sample in self.samples],
            "out_dir": str(self.out_dir.absolute()),
            "seed": self.seed,
            "cpu_threads": self.cpu_threads,
            "checkpoints": str(self.checkpoints.absolute()) if self.checkpoints else None,
            "start_from": str(self.start_from.absolute()) if self.start_from else None,
            "resume_from": self.resume_from,
            "lengths": list(self.lengths),
            "reply_tokens": list(self.reply_tokens),
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> TuningJob:
        """Invert `to_json`."""
        job = cls(
            student=_typed(HuggingFaceStudentConfig, row["student"]),
            config=_typed(TuningConfig, row["config"]),
            samples=[from_dict(Sample, sample) for sample in row["samples"]],
            out_dir=Path(row["out_dir"]),
            seed=row["seed"],
            cpu_threads=row["cpu_threads"],
            resume_from=row["resume_from"],
            lengths=row["lengths"],
            reply_tokens=row["reply_tokens"],
        )
        paths = {name: Path(row[name]) for name in ("checkpoints", "start_from") if row[name] is not None}
        return replace(job, **paths)


def _typed(schema: type, values: dict[str, Any]) -> Any:
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
