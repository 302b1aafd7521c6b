"""Make a teacher from its config, and its identity. The libraries of each kind are imported when one is made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from delamo.models.hf.identity import weights_identity
from delamo.models.teachers.base import Teacher
from delamo.models.teachers.config import LiteLLMTeacherConfig, LocalTeacherConfig, ReplayTeacherConfig, TeacherConfig


def load_teacher(config: TeacherConfig, *, transcripts: Path) -> Teacher:
    """Load a teacher, or connect to its service.

    Args:
        config: of the teacher.
        transcripts: folder below which the completions of services are kept.
    """
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.teachers.vision import load_local_teacher

        return load_local_teacher(config)
    from delamo.models.teachers.api import load_api_teacher, load_replay_teacher

    if isinstance(config, LiteLLMTeacherConfig):
        return load_api_teacher(config, transcripts)
    if isinstance(config, ReplayTeacherConfig):
        return load_replay_teacher(config)
    raise TypeError(f"no teacher for {type(config).__name__}")


def teacher_digest(config: TeacherConfig) -> str:
    """Return the SHA-256 over what decides a teacher's replies besides the prompt; loads no model."""
    if isinstance(config, LocalTeacherConfig):
        parts = [weights_identity(config.path, config.revision), config.dtype.value]
        parts += ["chat template"] if config.chat_template else []
    elif isinstance(config, LiteLLMTeacherConfig):
        from delamo.models.teachers.api import reading_of, service_of

        parts = [service_of(config).to_dict(), reading_of(config)]
    elif isinstance(config, ReplayTeacherConfig):
        from delamo.models.teachers.api import recorded_facts

        parts = ["replay", *recorded_facts(config.transcripts)]
    else:
        raise TypeError(f"no teacher for {type(config).__name__}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
