"""A tuning run as data, so that several processes can be told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from delamo.records import Sample, from_dict, to_dict
from delamo.tuning.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A tuning run: what each of several processes is told once the data is checked."""

    student_path: str
    revision: str | None
    device: str
    attn: str
    max_image_pixels: int | None
    seed: int
    start_from: Path | None
    out_dir: Path
    checkpoints: Path | None
    resume_from: str | None
    how: Recipe
    samples: Sequence[Sample]
    lengths: Sequence[int] = ()
    """Tokens of each sample, once they are checked."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        row = {name: getattr(self, name) for name in self.__slots__}
        paths = {name: str(value.absolute()) for name, value in row.items() if isinstance(value, Path)}
        return row | paths | {"how": asdict(self.how), "samples": [to_dict(sample) for sample in self.samples]}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Job:
        """The inverse."""
        paths = {name: Path(row[name]) for name in ("start_from", "out_dir", "checkpoints") if row[name] is not None}
        samples = [from_dict(Sample, sample) for sample in row["samples"]]
        return cls(**row | paths | {"how": Recipe(**row["how"]), "samples": samples})
