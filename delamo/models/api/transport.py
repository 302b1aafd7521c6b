"""litellm as the transport, and only that: one request, one response or one failure. It retries, caches and prices nothing here."""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from delamo.config.secrets import redact
from delamo.models.api.images import data_url
from delamo.models.api.requests import Request, Service

OVERLOADED = frozenset({429, 503, 529})
PASSING = frozenset({200, 408, 409, 425, 500, 502, 504})  # 200: a reply that is no JSON
HOPELESS = {
    401: "is the key in {env} valid?",
    402: "is the account in credit?",
    403: "may this key use the model?",
    404: "is teacher.model spelled right?",
}
LONGEST_ASKED_WAIT_S = 600.0  # a service that asks for more (a daily limit) is out of reach for this run


class Failure(Exception):
    """A request that ended without a response.

    `kind`: `overload` (everybody waits), `passing` (this one is sent again), `row` (this request alone is at fault),
    `fatal` (every request would fail).
    """

    def __init__(self, kind: str, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.kind, self.reason, self.detail, self.retry_after = kind, reason, detail, retry_after


class TeacherUnavailable(OSError):
    """The service cannot be used: a wrong key, an unknown model, no quota, or it stays down."""


class AllRefused(TeacherUnavailable):
    """The service answers, and finds every request bad: it lacks something that all of them ask for."""


def import_litellm() -> Any:
    """litellm, quiet and offline; importing it takes three seconds."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import asks the network for prices
    import litellm

    litellm.suppress_debug_info = True
    litellm.cache = None
    litellm.drop_params = False  # true removes logprobs in silence
    return litellm


@dataclass(slots=True)
class Transport:
    """Sends requests of one service. Keys come from the environment variable that `api_key_env` names."""

    service: Service
    api_key_env: str | None = None
    timeout_s: float = 60.0
    _client: Any = field(default=None, init=False, repr=False)

    async def send(self, request: Request) -> dict[str, Any]:
        """The response's body.

        Raises:
            Failure: there was none. ImageError: the picture cannot be read.
        """
        import openai

        litellm = import_litellm()
        # Decoding a picture takes as long as many requests: the others go on meanwhile.
        arguments = await asyncio.to_thread(self._arguments, request) if request.image else self._arguments(request)
        call = litellm.acompletion if self.service.api == "chat" else litellm.atext_completion
        try:
            # litellm's own timeout is the one that counts; this ends what it does not see
            response = await asyncio.wait_for(call(**arguments), self.timeout_s * 1.5 + 5)
        except openai.OpenAIError as error:  # litellm's errors are all of this family
            raise self._failure(error) from error
        except (TimeoutError, OSError) as error:
            raise Failure("passing", "no answer", self._clean(f"{type(error).__name__}: {error}")) from error
        return response.model_dump()

    def body(self, request: Request) -> dict[str, Any]:
        """The request's body as OpenAI documents it, for batch files."""
        fields = self._fields(request)
        extra = fields.pop("extra_body", {})
        return {"model": self.service.name, **fields, **extra}

    def key(self) -> str | None:
        """The key. Raises TeacherUnavailable where the variable is empty."""
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env)):
            raise TeacherUnavailable(
                f"teacher.api_key_env is {self.api_key_env}, and that environment variable is empty: export it, "
                "or use teacher=micro"
            )
        return key

    def _arguments(self, request: Request) -> dict[str, Any]:
        key = self.key()
        arguments = {
            "model": self.service.model,
            "api_base": self.service.api_base,
            # A server of one's own does not look at the key, but the client insists on one. Else litellm knows the provider's way.
            "api_key": key or ("none" if self.service.api_base else None),
            "timeout": self.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "caching": False,
            **self._fields(request),
        }
        if self.service.api == "completions":
            arguments["client"] = self._text_client(arguments["api_key"])
        return arguments

    def _fields(self, request: Request) -> dict[str, Any]:
        chat = self.service.api == "chat"
        fields: dict[str, Any] = {"max_tokens": request.max_tokens, "temperature": request.temperature}
        if chat:
            fields["messages"] = [{"role": "user", "content": self._content(request)}]
        else:
            fields["prompt"] = request.text
        if request.stop:
            fields["stop"] = list(request.stop)
        if request.wants_logprobs:
            fields |= (
                {"logprobs": True, "top_logprobs": request.top_logprobs} if chat else {"logprobs": request.top_logprobs}
            )
        if request.token_ids:
            fields["extra_body"] = {"logprob_token_ids": list(request.token_ids), "return_tokens_as_token_ids": True}
        if self.service.reasoning_effort is not None:
            fields["reasoning_effort"] = self.service.reasoning_effort
            if self.service.model.startswith(
                "openai/"
            ):  # reasoning models take this name only; litellm maps the other one
                fields["max_completion_tokens"] = fields.pop("max_tokens")
        return fields

    def _content(self, request: Request) -> Any:
        if request.image is None:
            return request.text
        url = {"url": data_url(request.image, self.service.max_image_pixels)}
        if self.service.image_detail is not None:
            url["detail"] = self.service.image_detail
        return [{"type": "image_url", "image_url": url}, {"type": "text", "text": request.text}]

    def _text_client(self, key: str | None) -> Any:
        """One client for all completions: litellm opens a new one for each."""
        if self._client is None:
            import openai

            options = {"api_key": key, "base_url": self.service.api_base, "max_retries": 0, "timeout": self.timeout_s}
            self._client = openai.AsyncOpenAI(**options)
        return self._client

    def _failure(self, error: Exception) -> Failure:
        litellm = import_litellm()
        detail = self._clean(str(error))
        if isinstance(error, litellm.exceptions.ContextWindowExceededError):
            return Failure("row", "too long", detail)
        if isinstance(error, litellm.exceptions.ContentPolicyViolationError):
            return Failure("row", "content filter", detail)
        status = getattr(error, "status_code", None)
        asked = retry_after(error)
        if status in HOPELESS:
            advice = HOPELESS[status].format(env=self.api_key_env or "the environment")
            return Failure("fatal", str(status), f"{detail} {advice}")
        if "insufficient_quota" in f"{error} {getattr(error, 'body', '')}":  # OpenAI: in the body's code alone
            return Failure("fatal", str(status), f"{detail} is the account in credit?")
        if asked is not None and asked > LONGEST_ASKED_WAIT_S:
            return Failure("fatal", str(status), f"{detail} it asks to wait {asked:.0f} s")
        if status == 429 and "request too large" in detail.lower():  # OpenAI: above the limit of a minute all by itself
            return Failure("row", "too long", detail)
        if status in OVERLOADED or asked is not None:
            return Failure("overload", str(status), detail, asked)
        if status is None or status in PASSING or status >= 500:
            return Failure("passing", str(status), detail)
        return Failure("row", "refused by the service", detail)

    def _clean(self, text: str) -> str:
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        return " ".join(redact(text, key).split())[:300]


def retry_after(error: Exception) -> float | None:
    """Seconds that the service asked to wait, if it did so by a number above zero or by a date to come."""
    headers = (
        getattr(getattr(error, "response", None), "headers", None)
        or getattr(error, "litellm_response_headers", None)
        or {}
    )
    asked = headers.get("retry-after")
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _until(asked)
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return math.nan
