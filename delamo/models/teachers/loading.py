"""From the config of a teacher to the teacher, and to what identifies it. The libraries of each kind wait for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from delamo.models.teachers.base import Teacher
from delamo.models.teachers.config import LiteLLMTeacherConfig, LocalTeacherConfig, ReplayTeacherConfig, TeacherConfig


def load_teacher(config: TeacherConfig, *, transcripts: Path = Path("store/transcripts")) -> Teacher:
    """The teacher that a config describes; replies of services are kept below `transcripts`."""
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
    """sha256 over what decides a teacher's replies besides the prompt; loads no model."""
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.students.local import weights_identity

        parts = [weights_identity(config.path, config.revision), config.dtype.value]
        parts += ["chat template"] if config.chat_template else []
    elif isinstance(config, LiteLLMTeacherConfig):
        from delamo.models.teachers.api import asking_of, service_of

        parts = [service_of(config).to_dict(), asking_of(config)]
    elif isinstance(config, ReplayTeacherConfig):
        from delamo.models.teachers.api import recorded_facts

        parts = ["replay", *recorded_facts(config.transcripts)]
    else:
        raise TypeError(f"no teacher for {type(config).__name__}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
