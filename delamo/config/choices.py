"""The closed choices of the config, written by name in YAML and on the command line."""

from __future__ import annotations

from enum import Enum


class Merge(Enum):
    """How the errors' ranked lists become one selection."""

    round_robin = "round_robin"
    score = "score"


class Fill(Enum):
    """What happens when the ranked lists run dry before the budget is spent."""

    random = "random"
    error = "error"


class Aggregation(Enum):
    """How a pool sample's similarities to many validation samples become one.

    The best, their mean, or each in turn takes its best.
    """

    max = "max"
    mean = "mean"
    round_robin = "round_robin"


class Backend(Enum):
    """A BM25 implementation."""

    bm25s = "bm25s"
    rank_bm25 = "rank_bm25"
