"""What calls cost, and a cap that is not passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from delamo.models.api.requests import Reply, Request

BATCH_SHARE = 0.5  # of the list price, by OpenAI's, Azure's, Mistral's and Google's batch services
CHARACTERS_PER_TOKEN = 4  # of English, a rule of thumb for estimates


class BudgetExhausted(ValueError):
    """The next call could pass `teacher.max_usd`."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a token."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """US dollars for so many tokens."""
        whole = prompt_tokens * self.prompt + completion_tokens * self.completion
        return whole * BATCH_SHARE if batch else whole


def prices_of(model: str, declared: tuple[float | None, float | None]) -> Prices | None:
    """The declared prices (US dollars for a million tokens of prompt and reply), else those of litellm's table, else None.

    List prices: what a provider takes off for prompts that it has seen before is not known beforehand.
    """
    if None not in declared:
        return Prices(declared[0] / 1e6, declared[1] / 1e6)
    from delamo.models.api.transport import import_litellm

    table, (provider, _, name) = import_litellm().model_cost, model.partition("/")
    entry = table.get(model)
    if entry is None:  # under its bare name, unless that is the same model at another provider
        entry = table.get(name) or {}
        entry = entry if str(entry.get("litellm_provider")).startswith(provider) else {}
    prompt, completion = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    return Prices(prompt, completion) if prompt is not None and completion is not None else None


@dataclass(slots=True)
class Budget:
    """Keeps the sum of what was paid and of what is under way below the cap."""

    prices: Prices | None
    max_usd: float | None
    paid: Callable[[], float]
    """US dollars paid so far, by all runs over the same transcripts."""
    tokens_per_image: int = 0
    _reserved: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.max_usd is not None and self.prices is None:
            raise ValueError(
                f"teacher.max_usd is {self.max_usd}, but the model's price is not known: declare "
                "teacher.input_usd_per_million and teacher.output_usd_per_million (0 for a server of your own)"
            )

    def reserve(self, request: Request) -> float:
        """Set aside what the request may cost at most.

        Raises:
            BudgetExhausted: it does not fit any more.
        """
        if self.prices is None or self.max_usd is None:
            return 0.0
        # A token has at least one byte, so that a prompt never has more tokens than bytes.
        most = self.prices.cost(len(request.text.encode()) + self.image_tokens(request), request.max_tokens)
        paid = self.paid()
        if paid + self._reserved + most > self.max_usd:
            raise BudgetExhausted(
                f"teacher.max_usd is {self.max_usd:g}: {paid:.4f} USD are spent, {self._reserved:.4f} under way, and the next "
                f"call may cost {most:.4f}. What is there is kept; raise teacher.max_usd to go on"
            )
        self._reserved += most
        return most

    def release(self, reserved: float) -> None:
        """The request has ended, and its cost is in what was paid."""
        self._reserved -= reserved

    def cost(self, reply: Reply | object, *, batch: bool = False) -> float | None:
        """US dollars of a reply, used or not; None where the price is not known."""
        if self.prices is None:
            return None
        return self.prices.cost(reply.prompt_tokens, reply.completion_tokens, batch=batch)

    def image_tokens(self, request: Request) -> int:
        """Tokens that the request's picture counts for."""
        return self.tokens_per_image if request.image else 0

    def estimated_tokens(self, request: Request) -> int:
        """Tokens of the prompt, roughly."""
        return len(request.text) // CHARACTERS_PER_TOKEN + self.image_tokens(request)
