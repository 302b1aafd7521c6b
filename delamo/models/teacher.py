"""What every teacher can do: give option probabilities after each prefix of a rationale, and complete prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from delamo.model_config import LiteLLMTeacherConfig, LocalTeacherConfig, ReplayTeacherConfig, TeacherConfig
from delamo.models.spent import Spent


@dataclass(frozen=True, slots=True)
class PrefixPrompt:
    """One question asked num_steps + 1 times: `head + "".join(steps[:i]) + tail` for i = 0..num_steps."""

    head: str
    steps: tuple[str, ...]
    tail: str
    """Ends where the option letter follows."""
    num_options: int

    def prefixes(self) -> list[str]:
        """All num_steps + 1 prompts as plain text."""
        return [self.head + "".join(self.steps[:i]) + self.tail for i in range(len(self.steps) + 1)]


@dataclass(frozen=True, slots=True)
class OptionScores:
    """What a teacher thinks after each prefix."""

    probabilities: tuple[tuple[float, ...], ...]
    """(num_steps + 1, num_options), each row sums to 1."""
    outside_mass: tuple[float, ...]
    """(num_steps + 1,): probability of anything but an option letter, before renormalising."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A prompt that the teacher could not take or answer; `reason` is countable, `detail` says why."""

    reason: str
    detail: str


class Teacher(Protocol):
    """A model that judges rationales and names skills. It never sees planted truth.

    One that may be shown pictures has `sees_images`; one whose calls cost money has `prepare` (see `LiteLLMTeacher.prepare`).
    """

    prompts: str
    """Template set: a folder below `templates`."""
    spent: Spent
    """Counted up by every call."""

    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """One result for each prompt, in order."""

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """One line for each prompt, in order; greedy. `images` are locators for teachers that see."""


def load_teacher(config: TeacherConfig, *, transcripts: Path = Path("store/transcripts")) -> Teacher:
    """The teacher that a config describes; replies of services are kept below `transcripts`."""
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.vision_teacher import load_local_teacher

        return load_local_teacher(config)
    from delamo.models.api_teachers import load_api_teacher, load_replay_teacher

    if isinstance(config, LiteLLMTeacherConfig):
        return load_api_teacher(config, transcripts)
    if isinstance(config, ReplayTeacherConfig):
        return load_replay_teacher(config)
    raise TypeError(f"no teacher for {type(config).__name__}")


def teacher_digest(config: TeacherConfig) -> str:
    """sha256 over what decides a teacher's replies besides the prompt; loads no model."""
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.student import weights_identity

        parts = [weights_identity(config.path, config.revision), config.dtype.value]
        parts += ["chat template"] if config.chat_template else []
    elif isinstance(config, LiteLLMTeacherConfig):
        from delamo.models.api_teachers import asking_of, service_of

        parts = [service_of(config).to_dict(), asking_of(config)]
    elif isinstance(config, ReplayTeacherConfig):
        from delamo.models.api_teachers import recorded_facts

        parts = ["replay", *recorded_facts(config.transcripts)]
    else:
        raise TypeError(f"no teacher for {type(config).__name__}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
