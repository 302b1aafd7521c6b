"""litellm as the transport, and only that: one request, one response or failure; no retries, no cache, no prices."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from delamo.config.secrets import redact
from delamo.models.api.requests import Request, Service
from delamo.models.api.retries import LONGEST_REQUESTED_WAIT_S, OVERLOADED, TRANSIENT, requested_wait
from delamo.models.images import data_url, load_image
from delamo.models.teachers.config import Api

FATAL_HINTS = {
    401: "is the key in {env} valid?",
    402: "is the account in credit?",
    403: "may this key use the model?",
    404: "is teacher.model spelled right?",
}
JPEG_QUALITY = 90


class FailureKind(Enum):
    """Whom a failure concerns, and whether it may pass."""

    overload = auto()
    """Everybody waits."""
    transient = auto()
    """This request is sent again."""
    invalid = auto()
    """This request alone is at fault, and would fail again."""
    fatal = auto()
    """Every request would fail."""


class RequestError(Exception):
    """A request that ended without a response; `reason` is short and countable, `retry_after` is in seconds."""

    def __init__(self, kind: FailureKind, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.kind, self.reason, self.detail, self.retry_after = kind, reason, detail, retry_after


class TeacherUnavailableError(OSError):
    """The service cannot be used: a wrong key, an unknown model, no quota, or it stays down."""


class AllRefusedError(TeacherUnavailableError):
    """The service answers, and finds every request bad: it lacks something that all of them ask for."""


def import_litellm() -> Any:
    """Import litellm, quiet and offline; it takes three seconds."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import asks the network for prices
    import litellm

    litellm.suppress_debug_info = True
    litellm.cache = None
    litellm.drop_params = False  # true removes logprobs in silence
    return litellm


@dataclass(slots=True)
class Transport:
    """Send requests of one service. Keys come from the environment variable that `api_key_env` names."""

    service: Service
    api_key_env: str | None
    timeout_s: float
    _client: Any = field(default=None, init=False, repr=False)

    async def send(self, request: Request) -> dict[str, Any]:
        """Return the body of the response.

        Raises:
            RequestError: there was none.
            ImageError: the image cannot be read.
        """
        import openai

        litellm = import_litellm()
        # Decoding an image takes as long as many requests: the others go on meanwhile.
        arguments = await asyncio.to_thread(self._arguments, request) if request.image else self._arguments(request)
        call = litellm.acompletion if self.service.api is Api.chat else litellm.atext_completion
        try:
            # litellm's own timeout is the one that counts; this ends what it does not see
            response = await asyncio.wait_for(call(**arguments), self.timeout_s * 1.5 + 5)
        except openai.OpenAIError as error:  # litellm's errors are all of this family
            raise self._failure(error) from error
        except (TimeoutError, OSError) as error:
            detail = self._clean(f"{type(error).__name__}: {error}")
            raise RequestError(FailureKind.transient, "no answer", detail) from error
        return response.model_dump()

    def body(self, request: Request) -> dict[str, Any]:
        """Return the request's body as OpenAI documents it, for batch files."""
        fields = self._fields(request)
        extra = fields.pop("extra_body", {})
        return {"model": self.service.name, **fields, **extra}

    def key(self) -> str | None:
        """Return the key; None where none is named. Raises TeacherUnavailableError where the variable is empty."""
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env)):
            raise TeacherUnavailableError(
                f"teacher.api_key_env is {self.api_key_env}, and that environment variable is empty: export it, "
                "or use teacher=micro"
            )
        return key

    def _arguments(self, request: Request) -> dict[str, Any]:
        key = self.key()
        arguments = {
            "model": self.service.model,
            "api_base": self.service.api_base,
            # A server of one's own does not look at the key, but the client insists on one.
            "api_key": key or ("none" if self.service.api_base else None),
            "timeout": self.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "caching": False,
            **self._fields(request),
        }
        if self.service.api is Api.completions:
            arguments["client"] = self._text_client(arguments["api_key"])
        return arguments

    def _fields(self, request: Request) -> dict[str, Any]:
        chat = self.service.api is Api.chat
        fields: dict[str, Any] = {"max_tokens": request.max_tokens, "temperature": request.temperature}
        if chat:
            fields["messages"] = [{"role": "user", "content": self._content(request)}]
        else:
            fields["prompt"] = request.text
        if request.stop:
            fields["stop"] = list(request.stop)
        if request.wants_logprobs and chat:
            fields |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        elif request.wants_logprobs:
            fields["logprobs"] = request.top_logprobs
        if request.token_ids:
            fields["extra_body"] = {"logprob_token_ids": list(request.token_ids), "return_tokens_as_token_ids": True}
        if self.service.reasoning_effort is not None:
            fields["reasoning_effort"] = self.service.reasoning_effort
            if self.service.model.startswith("openai/"):  # reasoning models take this name only
                fields["max_completion_tokens"] = fields.pop("max_tokens")  # elsewhere litellm maps it
        return fields

    def _content(self, request: Request) -> Any:
        if request.image is None:
            return request.text
        image = load_image(request.image, self.service.max_image_pixels)
        url = {"url": data_url(image, "JPEG", quality=JPEG_QUALITY)}
        if self.service.image_detail is not None:
            url["detail"] = self.service.image_detail
        return [{"type": "image_url", "image_url": url}, {"type": "text", "text": request.text}]

    def _text_client(self, key: str | None) -> Any:
        """Return the one client for all completions: litellm opens a new one for each."""
        if self._client is None:
            import openai

            options = {"api_key": key, "base_url": self.service.api_base, "max_retries": 0, "timeout": self.timeout_s}
            self._client = openai.AsyncOpenAI(**options)
        return self._client

    def _failure(self, error: Exception) -> RequestError:
        litellm = import_litellm()
        detail = self._clean(str(error))
        if isinstance(error, litellm.exceptions.ContextWindowExceededError):
            return RequestError(FailureKind.invalid, "too long", detail)
        if isinstance(error, litellm.exceptions.ContentPolicyViolationError):
            return RequestError(FailureKind.invalid, "content filter", detail)
        status = getattr(error, "status_code", None)
        wait = requested_wait(_headers(error))
        if status in FATAL_HINTS:
            hint = FATAL_HINTS[status].format(env=self.api_key_env or "the environment")
            return RequestError(FailureKind.fatal, str(status), f"{detail} {hint}")
        if "insufficient_quota" in f"{error} {getattr(error, 'body', '')}":  # OpenAI: in the body's code alone
            return RequestError(FailureKind.fatal, str(status), f"{detail} is the account in credit?")
        if wait is not None and wait > LONGEST_REQUESTED_WAIT_S:
            return RequestError(FailureKind.fatal, str(status), f"{detail} it asks to wait {wait:.0f} s")
        if status == 429 and "request too large" in detail.lower():  # OpenAI: above the limit of a minute all by itself
            return RequestError(FailureKind.invalid, "too long", detail)
        if status in OVERLOADED or wait is not None:
            return RequestError(FailureKind.overload, str(status), detail, wait)
        if status in (None, 200) or status in TRANSIENT or status >= 500:  # 200: an answer that is no JSON
            return RequestError(FailureKind.transient, str(status), detail)
        return RequestError(FailureKind.invalid, "refused by the service", detail)

    def _clean(self, text: str) -> str:
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        return " ".join(redact(text, key).split())[:300]


def _headers(error: Exception) -> Any:
    """Return the headers of the response behind an error, as the library that raised it keeps them."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    return headers or getattr(error, "litellm_response_headers", None) or {}
