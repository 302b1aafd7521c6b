"""API teachers from their configs, and from recorded transcripts alone."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from delamo.models.api.budget import Budget, Prices, prices_of
from delamo.models.api.client import Engine
from delamo.models.api.limits import Bucket
from delamo.models.api.requests import Service
from delamo.models.api.transcripts import DATABASE, Transcripts
from delamo.models.api.transport import Transport
from delamo.models.teachers.config import LiteLLMTeacherConfig, ReplayTeacherConfig
from delamo.models.teachers.litellm import LiteLLMTeacher
from delamo.store import digest_of, slug

BASES = {"openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "hosted_vllm": ("HOSTED_VLLM_API_BASE",)}
SERVICE, ASKING = "service", "asking"  # facts of a transcript store


def load_api_teacher(config: LiteLLMTeacherConfig, root: Path) -> LiteLLMTeacher:
    """The teacher, its transcripts below `root`. Nothing is sent yet.

    Raises:
        ValueError: a picture over an interface that takes none, or a cap without known prices.
    """
    if config.sees_images and config.api.value == "completions":
        raise ValueError(
            "teacher.sees_images is true, but teacher.api=completions takes no picture: use teacher.api=chat"
        )
    service = service_of(config)
    folder = root / f"{slug(config.model)}-{digest_of(service.to_dict())[:8]}"
    transcripts = Transcripts(folder)
    transcripts.set_fact(SERVICE, json.dumps(service.to_dict()))
    transcripts.set_fact(ASKING, json.dumps(asking_of(config)))
    declared = (config.input_usd_per_million, config.output_usd_per_million)
    prices = prices_of(config.model, declared)
    engine = Engine(
        service,
        transcripts,
        Transport(service, config.api_key_env, config.timeout_s),
        Budget(prices, config.max_usd, lambda: transcripts.paid, config.tokens_per_image),
        concurrency=config.concurrency,
        bucket=Bucket(config.requests_per_minute, config.tokens_per_minute),
        max_attempts=config.max_attempts,
    )
    options = asking_of(config) | {"batch": config.mode.value == "batch"}
    return LiteLLMTeacher(engine, prompts=config.prompts.value, sees_images=config.sees_images, **options)


def load_replay_teacher(config: ReplayTeacherConfig) -> LiteLLMTeacher:
    """A teacher that answers as recorded, and raises NotRecorded where nothing was."""
    service, asking = recorded_facts(config.transcripts)
    transcripts = Transcripts(Path(config.transcripts))
    given = Service(**service)
    budget = Budget(Prices(0.0, 0.0), None, lambda: transcripts.paid)
    engine = Engine(given, transcripts, Transport(given), budget, replay=True)
    return LiteLLMTeacher(engine, prompts=config.prompts.value, sees_images=config.sees_images, **asking)


def recorded_facts(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(service, way of asking) that a folder of transcripts was recorded with.

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
        facts = dict(db.execute("SELECT name, value FROM facts WHERE name IN (?, ?)", (SERVICE, ASKING)))
    finally:
        db.close()
    return json.loads(facts[SERVICE]), json.loads(facts[ASKING])


def service_of(config: LiteLLMTeacherConfig) -> Service:
    """What all requests have in common; a base that only the environment names is part of what decides an answer, too."""
    names = BASES.get(config.model.partition("/")[0], ())
    base = config.api_base or next((value for name in names if (value := os.environ.get(name))), None)
    return Service(
        model=config.model,
        revision=config.revision,
        api=config.api.value,
        api_base=base,
        reasoning_effort=config.reasoning_effort,
        image_detail=config.image_detail,
        max_image_pixels=config.max_image_pixels,
    )


def asking_of(config: LiteLLMTeacherConfig) -> dict[str, Any]:
    """How option probabilities are asked for."""
    return {
        "readout": config.readout.value,
        "top_logprobs": config.top_logprobs,
        "num_samples": config.num_samples,
        "sample_temperature": config.sample_temperature,
        "answer_max_tokens": config.answer_max_tokens,
    }
