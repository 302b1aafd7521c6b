"""Mistake steps from a file, as human annotators give them: the gold setting of the paper's Table 8."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, each_step, quarantined
from delamo.models.teachers.base import Teacher
from delamo.records import Mistake, Quarantined


@dataclass(slots=True, kw_only=True)
class AnnotatedConfig(MistakesConfig):
    """Steps from a file, annotated by people, say (paper, Table 8)."""

    path: str = MISSING
    """JSON lines, each {"id": ..., "step": ...}; steps count from 0, and -1 or null stands for no wrong step (appendix
    C.1)."""


def find(
    cases: Sequence[ErrorCase], teacher: Teacher | None, config: AnnotatedConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Look every case up; one that the file does not have, or whose step the rationale does not have, is set aside.

    Raises:
        ValueError: a line of the file is no such object.
    """
    path = config.path
    steps_by_id = read(Path(path))

    def look_up(case: ErrorCase, steps: tuple[str, ...]) -> int | Quarantined | None:
        if case.id not in steps_by_id:
            return quarantined(case, "not annotated", f"{path} has no row for {case.id}")
        step = steps_by_id[case.id]
        if step is not None and step >= len(steps):
            return quarantined(case, "no such step", f"{path} says {step}, the rationale has {len(steps)} steps")
        return step

    return each_step(cases, look_up)


def read(path: Path) -> dict[str, int | None]:
    """Read 0-based steps by id; None for no wrong step.

    Raises:
        ValueError: a line is no {"id": ..., "step": ...}.
    """
    steps: dict[str, int | None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            step = row["step"]
            steps[row["id"]] = None if step is None or int(step) < 0 else int(step)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{path}:{number}: no {{"id": ..., "step": ...}}: {line[:80]!r}') from error
    return steps


FINDER = Finder(name="annotated", config=AnnotatedConfig, find=find, files=("path",))
