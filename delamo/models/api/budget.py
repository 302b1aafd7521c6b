"""Prices of calls, and a cap on what they cost together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from delamo.models.api import transport
from delamo.models.api.requests import Completion, Rejected, Request
from delamo.models.teachers.config import LiteLLMTeacherConfig

BATCH_SHARE = 0.5  # of the list price, by OpenAI's, Azure's, Mistral's and Google's batch services
CHARACTERS_PER_TOKEN = 4  # of English, a rule of thumb for estimates


class BudgetExhaustedError(ValueError):
    """The next call could pass `teacher.max_usd`."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a token."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """Return the US dollars for so many tokens; `batch` is the price of batch files."""
        list_price = prompt_tokens * self.prompt + completion_tokens * self.completion
        return list_price * BATCH_SHARE if batch else list_price


def prices_of(config: LiteLLMTeacherConfig) -> Prices | None:
    """Return the prices that a config declares, else those of litellm's table, else None.

    These are list prices: the discount of a provider for prompts that it has seen before is not known beforehand.
    """
    if config.input_usd_per_million is not None and config.output_usd_per_million is not None:
        return Prices(config.input_usd_per_million / 1e6, config.output_usd_per_million / 1e6)
    table, (provider, _, name) = transport.import_litellm().model_cost, config.model.partition("/")
    entry = table.get(config.model)
    if entry is None:  # under its bare name, unless that is the same model at another provider
        entry = table.get(name) or {}
        entry = entry if str(entry.get("litellm_provider")).startswith(provider) else {}
    prompt, completion = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    return Prices(prompt, completion) if prompt is not None and completion is not None else None


@dataclass(slots=True)
class Budget:
    """Keep the sum of what was paid and of what is under way below the cap.

    Raises:
        ValueError: there is a cap, and the prices are not known.
    """

    prices: Prices | None
    max_usd: float | None
    paid: Callable[[], float]
    """US dollars paid so far, by all runs over the same transcripts."""
    tokens_per_image: int
    _reserved: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.max_usd is not None and self.prices is None:
            raise ValueError(
                f"teacher.max_usd is {self.max_usd}, but the model's price is not known: declare "
                "teacher.input_usd_per_million and teacher.output_usd_per_million (0 for a server of your own)"
            )

    def reserve(self, request: Request) -> float:
        """Set aside the most that the request may cost, and return it in US dollars.

        Raises:
            BudgetExhaustedError: it does not fit any more.
        """
        if self.prices is None or self.max_usd is None:
            return 0.0
        # A token has at least one byte, so that a prompt never has more tokens than bytes.
        most = self.prices.cost(len(request.text.encode()) + self.image_tokens(request), request.max_tokens)
        paid = self.paid()
        if paid + self._reserved + most > self.max_usd:
            raise BudgetExhaustedError(
                f"teacher.max_usd is {self.max_usd:g}: {paid:.4f} USD are spent, {self._reserved:.4f} under way, and "
                f"the next call may cost {most:.4f}. What is there is kept; raise teacher.max_usd to go on"
            )
        self._reserved += most
        return most

    def release(self, reserved: float) -> None:
        """Give back what was set aside: the request has ended, and its cost is in what was paid."""
        self._reserved -= reserved

    def cost(self, completion: Completion | Rejected, *, batch: bool = False) -> float | None:
        """Return the US dollars of a completion, used or not; None where the price is not known."""
        if self.prices is None:
            return None
        return self.prices.cost(completion.prompt_tokens, completion.completion_tokens, batch=batch)

    def image_tokens(self, request: Request) -> int:
        """Return the tokens that the request's image counts for."""
        return self.tokens_per_image if request.image else 0

    def estimated_tokens(self, request: Request) -> int:
        """Estimate the tokens of the prompt, roughly."""
        return len(request.text) // CHARACTERS_PER_TOKEN + self.image_tokens(request)
