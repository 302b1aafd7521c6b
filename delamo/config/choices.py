"""The closed choices of the config, written by name in YAML and on the command line."""

from __future__ import annotations

from enum import Enum


class Dtype(Enum):
    """Number format of a model's weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Attention(Enum):
    """Attention implementation, as transformers names them."""

    sdpa = "sdpa"
    eager = "eager"
    flash_attention_2 = "flash_attention_2"


class PromptSet(Enum):
    """A folder of templates below `delamo/models/templates`."""

    micro = "micro"
    paper = "paper"


class Api(Enum):
    """How a prompt is sent: as a user's message, or as the very text (for models without a chat template)."""

    chat = "chat"
    completions = "completions"


class Readout(Enum):
    """Where option probabilities come from: exact option tokens, the most probable tokens, or counted draws."""

    auto = "auto"
    token_ids = "token_ids"
    top_logprobs = "top_logprobs"
    samples = "samples"


class TeacherMode(Enum):
    """How the pool is annotated: call by call, or by files for a batch service at half the price."""

    direct = "direct"
    batch = "batch"


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


class Engine(Enum):
    """Where the student answers: in this process, or behind an OpenAI-compatible server such as vLLM's."""

    transformers = "transformers"
    vllm = "vllm"
