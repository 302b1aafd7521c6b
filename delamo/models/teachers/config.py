"""The schemas of the group `teacher`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from delamo.config.fields import not_in_identity, renamed_field
from delamo.config.registry import register
from delamo.models.hf.config import Dtype
from delamo.models.prompts import PromptSet


class Api(Enum):
    """How a prompt is sent: as a user's message, or as the very text (for models without a chat template)."""

    chat = "chat"
    completions = "completions"


class Readout(Enum):
    """Where option probabilities come from: exact option tokens, the most probable tokens, or counted draws."""

    auto = "auto"
    """The best that the service offers; draws only where they are asked for."""
    token_ids = "token_ids"
    top_logprobs = "top_logprobs"
    samples = "samples"


class TeacherMode(Enum):
    """How the pool is annotated: call by call, or by files for a batch service at half the price."""

    direct = "direct"
    batch = "batch"


@dataclass(slots=True, kw_only=True)
class TeacherConfig:
    """The model that judges partial rationales, names missing skills and annotates the pool."""

    name: str = not_in_identity()
    prompts: PromptSet = MISSING
    sees_images: bool = MISSING
    """Whether the image goes along to skill analysis and pool annotation; never to mistake identification."""
    skill_max_new_tokens: int = MISSING
    pool_skills_max_new_tokens: int = MISSING
    shard_size: int = not_in_identity()
    """Pool samples whose annotation a kill can lose at most."""


@dataclass(slots=True, kw_only=True)
class LocalTeacherConfig(TeacherConfig):
    """A model on this machine: a language model, or one for images and text where it has to see."""

    path: str = MISSING
    revision: str | None = MISSING
    dtype: Dtype = MISSING
    chat_template: bool = MISSING
    """Whether a prompt becomes a user's turn, its last line the start of the reply; false sends the bare text."""
    device: str = not_in_identity()
    """`auto`, a name of torch's, or `split`: layers over all GPUs, for a model that fits on none."""
    batch_size: int = not_in_identity()


@dataclass(slots=True, kw_only=True)
class LiteLLMTeacherConfig(TeacherConfig):
    """A model behind an API. Keys come from the environment variable that `api_key_env` names, never from config."""

    model: str = MISSING
    """As litellm names it: PROVIDER/MODEL."""
    revision: str | None = MISSING
    """Of served weights, where only you know it: part of the key that a reply is kept under."""
    api: Api = MISSING
    api_base: str | None = MISSING
    api_key_env: str | None = not_in_identity()
    reasoning_effort: str | None = MISSING
    image_detail: str | None = MISSING
    """OpenAI's `low`, `high` or `auto`; null leaves it out."""
    max_image_pixels: int | None = MISSING
    """Larger images are made smaller before they are sent."""
    readout: Readout = MISSING
    top_logprobs: int = MISSING
    num_draws: int = renamed_field("num_samples")
    """For each prefix of a rationale, with `readout=samples`."""
    sample_temperature: float = MISSING
    answer_max_tokens: int = MISSING
    """Tokens of a reply among which the option letter is looked for."""
    mode: TeacherMode = not_in_identity()  # noqa: RUF009 -- makes a dataclasses.field
    tokens_per_image: int = not_in_identity()
    """For the estimate and the cap; see the service's price list."""
    max_usd: float | None = not_in_identity()
    """What all runs over the same transcripts may spend together."""
    input_usd_per_million: float | None = not_in_identity()
    """null looks the price up in litellm's table."""
    output_usd_per_million: float | None = not_in_identity()
    concurrency: int = not_in_identity()
    requests_per_minute: float | None = not_in_identity()
    tokens_per_minute: float | None = not_in_identity()
    max_attempts: int = not_in_identity()
    """Of one request after failures that may pass; of all together while the service is overloaded."""
    timeout_s: float = not_in_identity()


@dataclass(slots=True, kw_only=True)
class ReplayTeacherConfig(TeacherConfig):
    """Recorded replies and no service: a request that was not recorded is an error."""

    transcripts: str = MISSING
    """A folder below `store/transcripts`."""


register(
    {
        "teacher/local": LocalTeacherConfig,
        "teacher/litellm": LiteLLMTeacherConfig,
        "teacher/replay": ReplayTeacherConfig,
    }
)
