"""The config of BM25: the group `retriever`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from delamo.config.fields import not_in_identity
from delamo.config.registry import register


class Backend(Enum):
    """A BM25 implementation; both rank alike."""

    bm25s = "bm25s"
    rank_bm25 = "rank_bm25"


@dataclass(slots=True, kw_only=True)
class RetrieverConfig:
    """BM25 over the skills of the pool's samples."""

    name: str = not_in_identity()
    backend: Backend = MISSING
    k1: float = MISSING
    """How fast a repeated term saturates, above 0."""
    b: float = MISSING
    """How much long documents are discounted, 0 to 1."""
    stop_words: bool = MISSING
    """Drop English function words (`delamo.retrieval.tokenize`)."""
    stemming: bool = MISSING
    """Reduce words to their stem."""


register({"retriever/bm25": RetrieverConfig})
