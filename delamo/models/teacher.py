"""What every teacher can do: give option probabilities after each prefix of a rationale, and complete prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from delamo.config import LiteLLMTeacherConfig, LocalTeacherConfig, TeacherConfig
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
    """A model that judges rationales and names skills. It never sees planted truth."""

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


def load_teacher(config: TeacherConfig) -> Teacher:
    """The teacher that a config describes."""
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.local_teacher import LocalTeacher

        return LocalTeacher.load(
            config.path,
            revision=config.revision,
            dtype=config.dtype.value,
            device=config.device,
            prompts=config.prompts.value,
            batch_size=config.batch_size,
        )
    if isinstance(config, LiteLLMTeacherConfig):
        from delamo.models.litellm_teacher import LiteLLMTeacher

        return LiteLLMTeacher(
            config.model,
            api_base=config.api_base,
            api_key_env=config.api_key_env,
            top_logprobs=config.top_logprobs,
            timeout_s=config.timeout_s,
            prompts=config.prompts.value,
        )
    raise TypeError(f"no teacher for {type(config).__name__}")


def teacher_digest(config: TeacherConfig) -> str:
    """sha256 over what decides a teacher's replies besides the prompt; loads no model."""
    if isinstance(config, LocalTeacherConfig):
        from delamo.models.student import weights_identity

        parts = [weights_identity(config.path, config.revision), config.dtype.value]
    elif isinstance(config, LiteLLMTeacherConfig):
        parts = [config.model, config.api_base, config.top_logprobs]
    else:
        raise TypeError(f"no teacher for {type(config).__name__}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
