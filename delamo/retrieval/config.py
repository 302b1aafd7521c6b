"""The schema of the group `retriever`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from delamo.config.choices import Backend
from delamo.config.fields import not_in_identity
from delamo.config.registry import register


@dataclass(slots=True, kw_only=True)
class RetrieverConfig:
    """BM25 over the skills of the pool's samples."""

    name: str = not_in_identity()
    backend: Backend = MISSING
    k1: float = MISSING
    b: float = MISSING
    stop_words: bool = MISSING
    stemming: bool = MISSING


register({"retriever/bm25": RetrieverConfig})
