"""The interface of teachers: option probabilities after each prefix of a rationale, and completions of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from delamo.models.usage import Usage


@dataclass(frozen=True, slots=True)
class PrefixPrompt:
    """One question asked num_steps + 1 times: `head + "".join(steps[:i]) + tail` for i = 0..num_steps."""

    head: str
    steps: tuple[str, ...]
    tail: str
    """Ends where the option letter follows."""
    num_options: int

    def prefixes(self) -> list[str]:
        """Return all num_steps + 1 prompts as plain text."""
        return [self.head + "".join(self.steps[:i]) + self.tail for i in range(len(self.steps) + 1)]


@dataclass(frozen=True, slots=True)
class OptionScores:
    """A teacher's probabilities of the options after each prefix of a rationale."""

    probabilities: tuple[tuple[float, ...], ...]
    """(num_steps + 1, num_options), each row sums to 1."""
    outside_mass: tuple[float, ...]
    """(num_steps + 1,): probability of anything but an option letter, before renormalising."""


CUT_OFF = "reply cut off"
"""Reason of a refusal: the reply did not end within the tokens that it may have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A prompt that the teacher could not take or answer; `reason` is countable, `detail` says why."""

    reason: str
    detail: str
    text: str = ""
    """What was said before a reply was cut off."""


class Teacher(ABC):
    """A model that judges rationales and names skills. It never sees planted truth."""

    prompts: str
    """Names the set of templates, a folder below `templates`."""
    sees_images: bool
    """Whether it is shown the image where it completes; it never is where it judges rationales."""
    usage: Usage
    """Counted up by every call."""

    @abstractmethod
    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """Return one result for each prompt, in order."""

    @abstractmethod
    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """Return one reply for each prompt, in order; greedy. One that is cut off at `max_new_tokens` is a refusal.

        Args:
            prompts: texts.
            max_new_tokens: of a reply.
            images: locators of the images that go along, for a teacher that sees them.
        """

    def prepare(  # noqa: B027 -- nothing to do for most teachers
        self, prompts: Callable[[int], Iterable[tuple[str, str | None]]], total: int, *, max_new_tokens: int
    ) -> None:
        """Prepare for many completions, before the first; most teachers have nothing to prepare.

        Args:
            prompts: called with n to go through every n-th (text, image) pair; none of them is kept.
            total: how many there are.
            max_new_tokens: of each.
        """
