"""The capabilities of a service, found by one call before the first, and a warning of its shutdown."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delamo.models.api.client import ApiClient, note
from delamo.models.api.requests import Completion, Request
from delamo.models.api.transport import AllRefusedError, TeacherUnavailableError
from delamo.models.teachers.base import Refusal
from delamo.models.teachers.config import Readout
from delamo.models.teachers.option_probabilities import spellings

QUESTION = "Which letter comes first in the alphabet, A or B? Reply with that letter alone.\nThe answer is"
IMAGE = "micro:pool/0/0"  # drawn, so that it is always there
FACT = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The result of the probe; kept with the transcripts, so that all runs over them read answers in one way."""

    readout: Readout | None
    """`token_ids`, `top_logprobs`, or None where the service gives no log-probabilities."""
    detail: str

    @classmethod
    def stored(cls, client: ApiClient) -> Capabilities | None:
        """Return the result of an earlier probe; None where there was none."""
        if (text := client.transcripts.fact(FACT)) is None:
            return None
        row = json.loads(text)
        return cls(readout=Readout(row["readout"]) if row["readout"] else None, detail=row.get("detail", ""))

    def store(self, client: ApiClient) -> Capabilities:
        """Keep the result with the transcripts; returns it."""
        readout = self.readout.value if self.readout else None
        row = {"readout": readout, "detail": self.detail, "time": time.time()}
        client.transcripts.set_fact(FACT, json.dumps(row))
        return self


class TokenIds:
    """Ids of the single tokens that spell a letter, asked of a vLLM server's `/tokenize` once and kept."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def of(self, letter: str, texts: Sequence[str]) -> list[int]:
        """Return the distinct ids of those texts that are one token.

        Args:
            letter: that they spell.
            texts: its spellings.

        Raises:
            TeacherUnavailableError: the server tokenizes no text.
            ValueError: none of them is one token.
        """
        name = f"tokens {json.dumps(list(texts))}"
        known = self._client.transcripts.fact(name)
        if known is None:
            rows = [_tokenize(self._client, text) for text in texts]
            known = json.dumps(sorted({row[0] for row in rows if len(row) == 1}))
            self._client.transcripts.set_fact(name, known)
        if not (ids := json.loads(known)):
            raise ValueError(f"the teacher's tokenizer has no single token for the option letter {letter!r}")
        return ids


def probe(client: ApiClient, token_ids: TokenIds, top_logprobs: int, *, with_image: bool) -> Capabilities:
    """Find what a service can do, by an earlier probe or by one call; prints a line that says so.

    Args:
        client: of the service.
        token_ids: ids of the option letters' tokens.
        top_logprobs: most probable tokens to ask for.
        with_image: whether the service has to take an image.

    Raises:
        TeacherUnavailableError: the service does not answer at all, or takes no image.
    """
    if (capabilities := Capabilities.stored(client)) is not None:
        return capabilities
    if client.replay:
        return Capabilities(readout=Readout.top_logprobs, detail="no probe was recorded").store(client)
    _warn_of_shutdown(client)
    ids = _option_ids(client, token_ids)
    request = Request(
        text=QUESTION,
        image=IMAGE if with_image else None,
        max_tokens=1,
        top_logprobs=len(ids) or top_logprobs,
        token_ids=ids,
    )
    capabilities = _read(_ask(client, request), ids)
    if capabilities.readout is None and not _answers_without_logprobs(client, request):
        raise TeacherUnavailableError(
            f"teacher.model {client.service.model} does not answer a probe{' with an image' if with_image else ''}: "
            f"{capabilities.detail}{'; set teacher.sees_images=false if it sees none' if with_image else ''}"
        )
    source = capabilities.readout.value if capabilities.readout else "draws only"
    note(f"{client.service.model}: option probabilities by {source} ({capabilities.detail})")
    return capabilities.store(client)


def _ask(client: ApiClient, request: Request) -> Completion | Refusal:
    try:
        return client.ask([request], label="probe")[0]
    except AllRefusedError as error:
        return Refusal("refused by the service", str(error))


def _read(answer: Completion | Refusal, ids: tuple[int, ...]) -> Capabilities:
    if isinstance(answer, Refusal):
        return Capabilities(readout=None, detail=f"{answer.reason}: {answer.detail}")
    listed = [token for token, _ in answer.positions[0]]
    if ids and {f"token_id:{token}" for token in ids} <= set(listed):
        return Capabilities(readout=Readout.token_ids, detail=f"all of {len(ids)} option tokens")
    return Capabilities(readout=Readout.top_logprobs, detail=f"the {len(listed)} most probable tokens")


def _answers_without_logprobs(client: ApiClient, request: Request) -> bool:
    """Return whether the same question without log-probabilities gets an answer."""
    plain = dataclasses.replace(request, top_logprobs=None, token_ids=(), max_tokens=8, sample=1)
    return isinstance(_ask(client, plain), Completion)


def _option_ids(client: ApiClient, token_ids: TokenIds) -> tuple[int, ...]:
    """Return the ids for `A` and `B` where the server may take them; none where it is no vLLM."""
    if not client.service.model.startswith("hosted_vllm/") or client.service.api_base is None:
        return ()
    try:
        return tuple(token for letter in "AB" for token in token_ids.of(letter, spellings(letter)))
    except (TeacherUnavailableError, ValueError) as error:
        note(f"{client.service.model}: {error}; exact option tokens are not used")
        return ()


def _tokenize(client: ApiClient, text: str) -> list[int]:
    base = (client.service.api_base or "").rstrip("/").removesuffix("/v1")
    body = {"model": client.service.name, "prompt": text, "add_special_tokens": False}
    tokens = _http(client, "POST", f"{base}/tokenize", body).get("tokens")
    if not isinstance(tokens, list):
        raise TeacherUnavailableError(f"{base}/tokenize gave no tokens")
    return tokens


def _warn_of_shutdown(client: ApiClient) -> None:
    """Print a line where the service says when it stops serving the model."""
    base = client.service.api_base
    if base is None and client.service.model.startswith("openai/"):
        base = "https://api.openai.com/v1"
    if base is None:
        return
    try:
        models = _http(client, "GET", f"{base.rstrip('/')}/models", None).get("data") or []
    except TeacherUnavailableError:
        return  # a server need not list its models
    rows = [row for row in models if isinstance(row, dict) and row.get("id") == client.service.name]
    if rows and (date := rows[0].get("shutdown_date")):
        note(f"{client.service.model} will be shut down on {date}: plan for its successor")


def _http(client: ApiClient, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Ask the service something besides the model's own endpoints. Raises TeacherUnavailableError."""
    import httpx

    key = client.transport.key()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=client.transport.timeout_s)
        response.raise_for_status()
        content = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise TeacherUnavailableError(f"{method} {url} failed: {error}") from error
    if not isinstance(content, dict):
        raise TeacherUnavailableError(f"{method} {url} gave no JSON object")
    return content
