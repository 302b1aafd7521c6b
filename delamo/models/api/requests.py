"""Requests to a service, the completions that come back, and the key under which a completion is kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from delamo.models.images import image_digest
from delamo.models.teachers.config import Api
from delamo.store import digest_of

SCHEMA = 1  # of keys; raise it when a request of the same fields is sent in another way


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The settings that all requests of one teacher share; every field can change an answer."""

    model: str
    revision: str | None
    """Of the served weights, where only the user knows it."""
    api: Api
    api_base: str | None
    reasoning_effort: str | None
    image_detail: str | None
    max_image_pixels: int | None

    @property
    def name(self) -> str:
        """The model as the service calls it: without litellm's provider."""
        return self.model.partition("/")[2] or self.model

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self) | {"api": self.api.value}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Service:
        """Invert `to_dict`."""
        return cls(**row | {"api": Api(row["api"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call."""

    text: str
    image: str | None = None
    """Locator of an image that goes along."""
    max_tokens: int
    temperature: float = 0.0
    top_logprobs: int | None = None
    """Most probable tokens to list for each token of the completion; None asks for no log-probabilities."""
    token_ids: tuple[int, ...] = ()
    """Tokens whose log-probabilities the completion must hold, whatever their rank (vLLM)."""
    stop: tuple[str, ...] = ()
    sample: int = 0
    """Number of a draw, where one prompt is asked several times at a temperature."""

    @property
    def wants_logprobs(self) -> bool:
        """Whether log-probabilities are asked for."""
        return self.top_logprobs is not None

    def to_dict(self, service: Service) -> dict[str, Any]:
        """Return all that can change the answer, as JSON values, an image by its digest. Raises ImageError."""
        fields = dataclasses.asdict(self) | {"image": image_digest(self.image) if self.image else None}
        return {"schema": SCHEMA, "service": service.to_dict(), **fields}

    def key(self, service: Service) -> str:
        """Return the SHA-256 of the canonical JSON of `to_dict`. Raises ImageError."""
        return digest_of(self.to_dict(service))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A complete answer to a request."""

    text: str
    finish: str
    positions: tuple[tuple[tuple[str, float], ...], ...] = ()
    """For each token the (token, log-probability) pairs that were listed; empty where none were asked for."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that came, was perhaps paid for, and must not be used."""

    reason: str
    detail: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(body: dict[str, Any], request: Request) -> Completion | Rejected:
    """Read an OpenAI-style response, of chat or completions, live or out of a batch file.

    A good one has one choice, a proper end, text, and log-probabilities for each of its tokens where they were asked
    for.

    Args:
        body: of the response, decoded.
        request: that it answers.
    """
    usage = body.get("usage") or {}
    tokens = {key: int(usage.get(key) or 0) for key in ("prompt_tokens", "completion_tokens")}
    choices = body.get("choices") or []
    if len(choices) != 1:
        return Rejected("no reply", f"{len(choices)} choices", **tokens)
    choice = choices[0]
    text = _text(choice)
    finish = choice.get("finish_reason")
    may_be_cut = request.wants_logprobs or request.sample > 0  # asked for a few tokens, and read from the start
    if finish == "content_filter":
        return Rejected("content filter", "finish_reason is content_filter", **tokens)
    if finish != "stop" and not (finish == "length" and may_be_cut):
        return Rejected("reply cut off", f"finish_reason is {finish}", **tokens)
    if not text.strip() and not request.wants_logprobs:  # an end of text has log-probabilities too
        return Rejected("empty reply", f"the text is {text!r}", **tokens)
    positions = _positions(choice) if request.wants_logprobs else ()
    if request.wants_logprobs and (not positions or not all(positions)):
        return Rejected("no log-probabilities", "the service returned none, or not for every token", **tokens)
    return Completion(text=text, finish=finish, positions=positions, **tokens)


def _text(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    return (choice.get("text") if message is None else message.get("content")) or ""


def _positions(choice: dict[str, Any]) -> tuple[tuple[tuple[str, float], ...], ...]:
    logprobs = choice.get("logprobs") or {}
    if logprobs.get("content") is not None:  # chat
        return tuple(
            tuple((top["token"], float(top["logprob"])) for top in entry.get("top_logprobs") or ())
            for entry in logprobs["content"]
        )
    return tuple(
        tuple((token, float(value)) for token, value in (row or {}).items())
        for row in logprobs.get("top_logprobs") or ()
    )
