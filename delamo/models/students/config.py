"""The schema of the group `student`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from delamo.config.fields import identity_field, not_in_identity
from delamo.config.registry import register
from delamo.models.hf.config import Attention, Dtype
from delamo.models.prompts import PromptSet


class Engine(Enum):
    """Where the student answers: in this process, or behind an OpenAI-compatible server such as vLLM's."""

    transformers = "transformers"
    vllm = "vllm"


@dataclass(slots=True, kw_only=True)
class StudentConfig:
    """The model that answers and is tuned."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class HuggingFaceStudentConfig(StudentConfig):
    """Any `AutoModelForImageTextToText`: a hub id, a folder, or `package:NAME` for shipped weights."""

    path: str = identity_field("weights")
    revision: str | None = identity_field("weights")
    dtype: Dtype = identity_field("numerics")  # noqa: RUF009 -- makes a dataclasses.field
    """`float32` gives one answer for every batch size; `bfloat16` halves memory, and close calls between two tokens may
    fall differently from one batch size to the next."""
    attn: Attention = identity_field("numerics")  # noqa: RUF009 -- makes a dataclasses.field
    device: str = not_in_identity()
    """`auto`, `cpu`, `cuda`, `cuda:1`, ..."""
    prompt: PromptSet = identity_field("weights")  # noqa: RUF009 -- makes a dataclasses.field
    max_image_pixels: int | None = identity_field("images", omit=None)
    """Larger images are made smaller first, for models that read images at their own size; null leaves them."""
    max_new_tokens: int = identity_field("decoding")
    temperature: float = identity_field("decoding")
    """0 is greedy."""
    engine: Engine = identity_field("serving", omit=Engine.transformers)  # noqa: RUF009 -- makes a dataclasses.field
    """Of answers and evaluation; tuning is always done here."""
    api_base: str | None = identity_field("server", omit=None)
    """The server's, for `engine=vllm`, as in http://localhost:8000/v1."""
    api_key_env: str | None = not_in_identity()
    """Name of the environment variable that holds the server's key; null where it wants none."""
    concurrency: int = not_in_identity()
    """Requests to the server at a time."""
    timeout_s: float = not_in_identity()
    """Seconds that one request may take."""
    batch_size: int = not_in_identity()
    shard_size: int = not_in_identity()
    """Answers that a kill can lose at most."""


register({"student/huggingface": HuggingFaceStudentConfig})
