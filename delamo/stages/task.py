"""The task's samples as they were read, so that look-ups need neither the reader nor its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, write_rows


@dataclass(frozen=True, eq=False)
class KeepTask(Stage):
    """Keep the validation and test samples of the task."""

    name: ClassVar[str] = "task"

    @property
    def label(self) -> str:
        """The task's name."""
        return self.experiment.config.task.name

    def depends_on(self) -> dict[str, Any]:
        """Return the digest of the task, and those of its samples, which cover the bytes of their images."""
        return {"task": self.experiment.task.digest, "samples": self.experiment.samples_digests}

    def compute(self, writer: ResultWriter) -> None:
        """Write `validation.jsonl` and `test.jsonl`."""
        task = self.experiment.task
        write_rows(writer.path / "validation.jsonl", task.validation)
        write_rows(writer.path / "test.jsonl", task.test)
        num_ok = len(task.validation) + len(task.test)
        num_in = num_ok + len(task.quarantined)
        writer.finish(RowCounts(num_in=num_in, num_ok=num_ok, quarantined=task.quarantined))
