"""Load the student that a config names: in this process, or behind a server."""

from __future__ import annotations

from pathlib import Path

from delamo.models.students.config import Engine, HuggingFaceStudentConfig
from delamo.models.students.local import Student
from delamo.models.students.served import ServedStudent


def load_student(config: HuggingFaceStudentConfig, adapter: Path | None) -> Student | ServedStudent:
    """Load a student, or connect to its server.

    Args:
        config: of the student.
        adapter: a folder in PEFT's format; None is the untuned student.
    """
    if config.engine is Engine.vllm:
        return ServedStudent.connect(config, adapter=adapter)
    return Student.load(config, adapter=adapter)
