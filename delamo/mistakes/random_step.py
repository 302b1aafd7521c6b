"""A step drawn at random: the baseline of the paper's Table 7."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, each_step
from delamo.models.teachers.base import Teacher
from delamo.records import Mistake, Quarantined


@dataclass(slots=True, kw_only=True)
class RandomStepConfig(MistakesConfig):
    """A step drawn at random (paper, Table 7)."""

    seed: int = MISSING


def find(
    cases: Sequence[ErrorCase], teacher: Teacher | None, config: RandomStepConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Draw a step for every case, by seed and id, so that neither order nor number of the cases changes a draw."""

    def draw(case: ErrorCase, steps: tuple[str, ...]) -> int:
        return int.from_bytes(hashlib.sha256(f"{config.seed}\0{case.id}".encode()).digest()[:8]) % len(steps)

    return each_step(cases, draw)


FINDER = Finder(name="random_step", config=RandomStepConfig, find=find)
