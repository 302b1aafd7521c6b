"""One call before the first: what can this service do, and for how long will it be there?"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delamo.models.api.client import Engine, note
from delamo.models.api.requests import Reply, Request
from delamo.models.api.transport import AllRefused, TeacherUnavailable
from delamo.models.teachers.base import Refusal
from delamo.models.teachers.option_probabilities import spellings

QUESTION = "Which letter comes first in the alphabet, A or B? Reply with that letter alone.\nThe answer is"
PICTURE = "micro:pool/0/0"  # drawn, so that it is always there
FACT = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the probe found; kept with the transcripts, so that all runs over them read answers in one way."""

    readout: str | None
    """`token_ids`, `top_logprobs`, or None where the service gives no log-probabilities."""
    detail: str = ""
    num_listed: int = 0
    """Tokens listed at one position."""
    time: float = 0.0


class TokenIds:
    """Ids of the single tokens that spell a letter, asked of a vLLM server's `/tokenize` once and kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, letter: str, texts: Sequence[str]) -> list[int]:
        """Distinct ids of those texts that are one token.

        Raises:
            TeacherUnavailable: the server tokenizes no text. ValueError: none of them is one token.
        """
        name = f"tokens {json.dumps(list(texts))}"
        known = self._engine.transcripts.fact(name)
        if known is None:
            rows = [_tokenize(self._engine, text) for text in texts]
            known = json.dumps(sorted({row[0] for row in rows if len(row) == 1}))
            self._engine.transcripts.set_fact(name, known)
        if not (ids := json.loads(known)):
            raise ValueError(f"the teacher's tokenizer has no single token for the option letter {letter!r}")
        return ids


def probe(engine: Engine, token_ids: TokenIds, top_logprobs: int, *, with_image: bool) -> Probe:
    """The one found before, or one call that checks picture, log-probabilities and their number, and a line that says so.

    Raises:
        TeacherUnavailable: the service does not answer at all, or takes no picture.
    """
    if known := engine.transcripts.fact(FACT):
        return Probe(**json.loads(known))
    if engine.replay:
        return _kept(engine, Probe(readout="top_logprobs", detail="no probe was recorded"))
    _warn_of_shutdown(engine)
    ids = _ids_of_two(engine, token_ids)
    request = Request(
        text=QUESTION,
        image=PICTURE if with_image else None,
        max_tokens=1,
        top_logprobs=len(ids) or top_logprobs,
        token_ids=ids,
    )
    found = _found(_asked(engine, request), ids)
    if found.readout is None and not _answers(engine, request):
        raise TeacherUnavailable(
            f"teacher.model {engine.service.model} does not answer a probe{' with a picture' if with_image else ''}: "
            f"{found.detail}{'; set teacher.sees_images=false if it sees none' if with_image else ''}"
        )
    note(f"{engine.service.model}: option probabilities by {found.readout or 'draws only'} ({found.detail})")
    return _kept(engine, found)


def _asked(engine: Engine, request: Request) -> Reply | Refusal:
    try:
        return engine.ask([request], label="probe")[0]
    except AllRefused as error:
        return Refusal("refused by the service", str(error))


def _found(reply: Reply | Refusal, ids: tuple[int, ...]) -> Probe:
    if isinstance(reply, Refusal):
        return Probe(readout=None, detail=f"{reply.reason}: {reply.detail}")
    listed = [token for token, _ in reply.positions[0]]
    exact = bool(ids) and {f"token_id:{token}" for token in ids} <= set(listed)
    detail = f"all of {len(ids)} option tokens" if exact else f"the {len(listed)} most probable tokens"
    return Probe(readout="token_ids" if exact else "top_logprobs", detail=detail, num_listed=len(listed))


def _answers(engine: Engine, request: Request) -> bool:
    """Whether the same question without log-probabilities gets an answer."""
    plain = dataclasses.replace(request, top_logprobs=None, token_ids=(), max_tokens=8, sample=1)
    return isinstance(_asked(engine, plain), Reply)


def _kept(engine: Engine, found: Probe) -> Probe:
    found = dataclasses.replace(found, time=time.time())
    engine.transcripts.set_fact(FACT, json.dumps(dataclasses.asdict(found)))
    return found


def _ids_of_two(engine: Engine, token_ids: TokenIds) -> tuple[int, ...]:
    """Ids for `A` and `B` where the server may take them; none where it is no vLLM."""
    if not engine.service.model.startswith("hosted_vllm/") or engine.service.api_base is None:
        return ()
    try:
        return tuple(token for letter in "AB" for token in token_ids.of(letter, spellings(letter)))
    except (TeacherUnavailable, ValueError) as error:
        note(f"{engine.service.model}: {error}; exact option tokens are not used")
        return ()


def _tokenize(engine: Engine, text: str) -> list[int]:
    base = (engine.service.api_base or "").rstrip("/").removesuffix("/v1")
    body = {"model": engine.service.name, "prompt": text, "add_special_tokens": False}
    found = _http(engine, "POST", f"{base}/tokenize", body).get("tokens")
    if not isinstance(found, list):
        raise TeacherUnavailable(f"{base}/tokenize gave no tokens")
    return found


def _warn_of_shutdown(engine: Engine) -> None:
    """A line where the service says when it stops serving the model."""
    base = engine.service.api_base or (
        "https://api.openai.com/v1" if engine.service.model.startswith("openai/") else None
    )
    if base is None:
        return
    try:
        listed = _http(engine, "GET", f"{base.rstrip('/')}/models", None).get("data") or []
    except TeacherUnavailable:
        return  # a server need not list its models
    dates = [
        row.get("shutdown_date") for row in listed if isinstance(row, dict) and row.get("id") == engine.service.name
    ]
    if dates and dates[0]:
        note(f"{engine.service.model} will be shut down on {dates[0]}: plan for its successor")


def _http(engine: Engine, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """Small questions beside the model's own. Raises TeacherUnavailable."""
    import httpx

    key = engine.transport.key()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=engine.transport.timeout_s)
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise TeacherUnavailable(f"{method} {url} failed: {error}") from error
    if not isinstance(found, dict):
        raise TeacherUnavailable(f"{method} {url} gave no JSON object")
    return found
