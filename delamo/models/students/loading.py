"""Load the student that a config names: in this process, or behind a server."""

from __future__ import annotations

from pathlib import Path

from delamo.config.choices import Engine
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.models.students.local import Student
from delamo.models.students.served import ServedStudent


def load_student(config: HuggingFaceStudentConfig, adapter: Path | None) -> Student | ServedStudent:
    """Load a student.

    Args:
        config: of the student.
        adapter: a folder in PEFT's format; None is the untuned student.
    """
    common = {
        "adapter": adapter,
        "revision": config.revision,
        "prompt": config.prompt.value,
        "max_image_pixels": config.max_image_pixels,
    }
    if config.engine is Engine.vllm:
        return ServedStudent.connect(
            config.path,
            api_base=config.api_base,
            api_key_env=config.api_key_env,
            concurrency=config.concurrency,
            timeout_s=config.timeout_s,
            **common,
        )
    return Student.load(config.path, dtype=config.dtype.value, device=config.device, attn=config.attn.value, **common)
