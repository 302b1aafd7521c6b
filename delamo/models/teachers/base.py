"""What every teacher can do: give option probabilities after each prefix of a rationale, and complete prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from delamo.models.usage import Spent


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
