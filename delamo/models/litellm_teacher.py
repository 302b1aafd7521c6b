"""A teacher behind an API. litellm is the transport and only that: retries, limits and the read-out are here."""

from __future__ import annotations

import base64
import io
import math
import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from delamo.models.teacher import OptionScores, PrefixPrompt, Refusal
from delamo.records import LETTERS

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LONGEST_ASKED_WAIT_S = 600.0  # a service that asks for more (a daily limit) is out of reach for this run
ADVICE = {401: "is the key in {env} valid?", 403: "may this key use the model?", 404: "is teacher.model spelled right?"}


class TeacherUnavailable(RuntimeError):
    """The service refuses every request of this kind: a wrong key, an unknown model, no quota."""


@dataclass(slots=True)
class LiteLLMTeacher:
    """Any chat model that litellm knows."""

    model: str
    api_base: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; keys never stand in a config."""
    top_logprobs: int = 20
    timeout_s: float = 60.0
    prompts: str = "paper"
    sees_images: bool = False
    max_attempts: int = 6
    wait: Any = field(default=time.sleep, repr=False)

    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """See `Teacher.option_probabilities`; one request for each prefix, top log-probabilities of the first token."""
        return [
            self._prefix_scores(prompt) for prompt in tqdm(prompts, desc="read rationales", delay=5, unit="rationale")
        ]

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`. Equal requests are sent once."""
        pairs = list(zip(prompts, images or [None] * len(prompts), strict=True))
        replies: dict[tuple[str, str | None], str | Refusal] = {}
        for pair in tqdm(dict.fromkeys(pairs), desc="ask the teacher", delay=5, unit="prompt"):
            response = self._send(*pair, max_tokens=max_new_tokens)
            replies[pair] = response if isinstance(response, Refusal) else response.choices[0].message.content
        return [replies[pair] for pair in pairs]

    def _prefix_scores(self, prompt: PrefixPrompt) -> OptionScores | Refusal:
        rows, outside = [], []
        for text in prompt.prefixes():
            response = self._send(text, None, max_tokens=1, logprobs=True, top_logprobs=self.top_logprobs)
            if isinstance(response, Refusal):
                return response
            row, mass = read_options(_top_logprobs(response), prompt.num_options)
            rows.append(row)
            outside.append(mass)
        return OptionScores(tuple(rows), tuple(outside))

    def _send(self, text: str, image: str | None, **options: Any) -> Any | Refusal:
        """One request, sent again after errors that pass; a reply that is not whole is refused, not used."""
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import asks the network for prices
        import litellm
        import openai

        litellm.suppress_debug_info = True
        request = dict(
            model=self.model,
            messages=[{"role": "user", "content": _content(text, image)}],
            api_base=self.api_base,
            api_key=self._key(),
            temperature=0.0,
            timeout=self.timeout_s,
            num_retries=0,
            max_retries=0,
            caching=False,
            **options,
        )
        for attempt in range(self.max_attempts):
            try:
                return _accepted(litellm.completion(**request), logprobs="logprobs" in options)
            except litellm.exceptions.ContextWindowExceededError as error:
                return Refusal("too long", str(error)[:300])
            except litellm.exceptions.ContentPolicyViolationError as error:
                return Refusal("content filter", str(error)[:300])
            except openai.OpenAIError as error:  # litellm's errors are all of this family
                self._give_up_or_wait(error, attempt)
        raise AssertionError("the last attempt raises")

    def _give_up_or_wait(self, error: Exception, attempt: int) -> None:
        status = getattr(error, "status_code", None)
        asked = retry_after(error)
        no_quota = "insufficient_quota" in f"{error} {getattr(error, 'body', '')}"  # OpenAI: in the body's code alone
        too_long = asked is not None and asked > LONGEST_ASKED_WAIT_S
        if status not in RETRIED or no_quota or too_long or attempt == self.max_attempts - 1:
            advice = f"it asks to wait {asked:.0f} s" if too_long else ADVICE.get(status, "")
            raise TeacherUnavailable(
                f"teacher.model {self.model}: {status}: {str(error)[:300]} {advice.format(env=self.api_key_env)}"
            ) from error
        self.wait(asked or min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt * (1 + random.random())))

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env)):
            raise TeacherUnavailable(
                f"teacher.api_key_env is {self.api_key_env}, and that environment variable is empty: export it, "
                "or use teacher=micro"
            )
        return key


def read_options(top: Iterable[tuple[str, float]], num_options: int) -> tuple[tuple[float, ...], float]:
    """(option probabilities, mass outside) from (token, log-probability) pairs.

    Spellings of one letter count together. Letters that the service did not list share what mass is left, at most what
    the least listed token has each: a missing letter is unlikely, not impossible.
    """
    pairs = list(top)
    mass = [0.0] * num_options
    for token, logprob in pairs:
        letter = token.strip().lstrip("(").rstrip(").")
        if len(letter) == 1 and letter in LETTERS[:num_options]:
            mass[LETTERS.index(letter)] += math.exp(logprob)
    listed = sum(math.exp(logprob) for _, logprob in pairs)
    missing = [i for i, value in enumerate(mass) if value == 0.0]
    least = min((math.exp(logprob) for _, logprob in pairs), default=1.0)
    for i in missing:
        mass[i] = max(min(least, max(0.0, 1.0 - listed) / len(missing)), 1e-12)
    inside = sum(mass)
    return tuple(value / inside for value in mass), min(1.0, max(0.0, 1.0 - inside))


def retry_after(error: Exception) -> float | None:
    """Seconds that the service asked to wait, if it did so in a number above zero."""
    headers = (
        getattr(getattr(error, "response", None), "headers", None)
        or getattr(error, "litellm_response_headers", None)
        or {}
    )
    try:
        seconds = float(headers.get("retry-after"))
    except (TypeError, ValueError):
        return None
    return seconds if seconds > 0 else None


def _accepted(response: Any, *, logprobs: bool) -> Any | Refusal:
    """The response if it is whole: one choice, a proper end, text, and log-probabilities where they were asked for."""
    if len(response.choices) != 1:
        return Refusal("no reply", f"{len(response.choices)} choices")
    choice = response.choices[0]
    if choice.finish_reason not in ("stop", "length") or (choice.finish_reason == "length" and not logprobs):
        return Refusal("reply cut off", f"finish_reason is {choice.finish_reason}")
    if not (choice.message.content or "").strip():
        return Refusal("empty reply", f"content is {choice.message.content!r}")
    if logprobs and not _top_logprobs(response):
        return Refusal("no log-probabilities", "the model's service returned none: choose another teacher")
    return response


def _top_logprobs(response: Any) -> list[tuple[str, float]]:
    content = getattr(getattr(response.choices[0], "logprobs", None), "content", None) or []
    return [(entry.token, entry.logprob) for entry in content[0].top_logprobs] if content else []


def _content(text: str, image: str | None) -> Any:
    if image is None:
        return text
    from delamo.data.images import open_image

    buffer = io.BytesIO()
    open_image(image).save(buffer, "JPEG", quality=90)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
