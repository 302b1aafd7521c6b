"""API teachers from their configs, and from recorded transcripts alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from delamo.models.api.bases import base_of_environment
from delamo.models.api.budget import Budget, Prices, prices_of
from delamo.models.api.client import ApiClient
from delamo.models.api.limits import RateLimiter
from delamo.models.api.requests import Service
from delamo.models.api.transcripts import DATABASE, Transcripts
from delamo.models.api.transport import Transport
from delamo.models.teachers.config import Api, LiteLLMTeacherConfig, Readout, ReplayTeacherConfig, TeacherMode
from delamo.models.teachers.litellm import LiteLLMTeacher
from delamo.store import digest_of, slug

SERVICE, READING = "service", "asking"  # names of facts in the transcripts


def load_api_teacher(config: LiteLLMTeacherConfig, root: Path) -> LiteLLMTeacher:
    """Make the teacher, with its transcripts below `root`. Nothing is sent yet.

    Raises:
        ValueError: images over an interface that takes none, or a cap without known prices.
    """
    if config.sees_images and config.api is Api.completions:
        raise ValueError(
            "teacher.sees_images is true, but teacher.api=completions takes no image: use teacher.api=chat"
        )
    service = service_of(config)
    folder = root / f"{slug(config.model)}-{digest_of(service.to_dict())[:8]}"
    transcripts = Transcripts(folder)
    transcripts.set_fact(SERVICE, json.dumps(service.to_dict()))
    transcripts.set_fact(READING, json.dumps(reading_of(config)))
    client = ApiClient(
        service,
        transcripts,
        Transport(service, config.api_key_env, config.timeout_s),
        Budget(prices_of(config), config.max_usd, lambda: transcripts.paid, config.tokens_per_image),
        RateLimiter(config.requests_per_minute, config.tokens_per_minute),
        concurrency=config.concurrency,
        max_attempts=config.max_attempts,
    )
    return LiteLLMTeacher(client, config)


def load_replay_teacher(config: ReplayTeacherConfig) -> LiteLLMTeacher:
    """Make a teacher that answers as recorded, and raises NotRecordedError for any other request.

    Raises:
        FileNotFoundError: there are no transcripts.
    """
    service_fields, reading = recorded_facts(config.transcripts)
    service, transcripts = Service.from_dict(service_fields), Transcripts(Path(config.transcripts))
    client = ApiClient(
        service,
        transcripts,
        Transport(service, api_key_env=None, timeout_s=1.0),
        Budget(Prices(0.0, 0.0), None, lambda: transcripts.paid, tokens_per_image=0),
        RateLimiter(None, None),
        concurrency=1,
        max_attempts=1,
        replay=True,
    )
    recorded = LiteLLMTeacherConfig(
        prompts=config.prompts,
        sees_images=config.sees_images,
        mode=TeacherMode.direct,
        readout=Readout(reading["readout"]),
        top_logprobs=reading["top_logprobs"],
        num_draws=reading["num_samples"],
        sample_temperature=reading["sample_temperature"],
        answer_max_tokens=reading["answer_max_tokens"],
    )
    return LiteLLMTeacher(client, recorded)


def recorded_facts(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a folder of transcripts was recorded with: (`Service.to_dict`, `reading_of`).

    Raises:
        FileNotFoundError: there are no transcripts.
    """
    path = Path(folder) / DATABASE
    if not path.is_file():
        raise FileNotFoundError(
            f"teacher.transcripts is {folder}: no {DATABASE} there; name a folder below store/transcripts"
        )
    db = sqlite3.connect(path)
    try:
        facts = dict(db.execute("SELECT name, value FROM facts WHERE name IN (?, ?)", (SERVICE, READING)))
    finally:
        db.close()
    return json.loads(facts[SERVICE]), json.loads(facts[READING])


def service_of(config: LiteLLMTeacherConfig) -> Service:
    """Return what all requests have in common; a base that only the environment names decides an answer, too."""
    base = config.api_base or base_of_environment(config.model)
    return Service(
        model=config.model,
        revision=config.revision,
        api=config.api,
        api_base=base,
        reasoning_effort=config.reasoning_effort,
        image_detail=config.image_detail,
        max_image_pixels=config.max_image_pixels,
    )


def reading_of(config: LiteLLMTeacherConfig) -> dict[str, Any]:
    """Return how option probabilities are asked for, as JSON values; digests hold these keys in this order."""
    return {
        "readout": config.readout.value,
        "top_logprobs": config.top_logprobs,
        "num_samples": config.num_draws,
        "sample_temperature": config.sample_temperature,
        "answer_max_tokens": config.answer_max_tokens,
    }
