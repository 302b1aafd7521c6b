"""The schema of every config node, registered once in Hydra's ConfigStore below the group `schema/`.

Here stands the cell with its smaller groups; `model_config`, `data_config` and `selector_config` have the larger ones.

The YAML files in `conf/` hold the values, these classes hold the types: every field is MISSING here, so that a value lives in one
place. A structured node takes no unknown key, not even with a leading `+`. Closed choices are enums, written by name.

Fields made by `not_in_identity()` and `not_in_identity()` do not enter a stage's identity: a label names a choice, and a speed knob (batch
size, device, workers) says how a result is computed, not which.
"""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from delamo.config.choices import (
    Backend,
    Dtype,
    IterateFrom,
    Precision,
    Query,
    SkillSource,
    Strategy,
    TuningMethod,
    WandbMode,
    Window,
)
from delamo.config.data import DATA_SCHEMAS, PoolConfig, TaskConfig
from delamo.config.fields import not_in_identity
from delamo.config.models import MODEL_SCHEMAS, StudentConfig, TeacherConfig
from delamo.config.registry import register
from delamo.config.selectors import SELECTOR_SCHEMAS, SelectorConfig


@dataclass(slots=True, kw_only=True)
class BudgetConfig:
    """How many pool samples one iteration may tune on."""

    name: str = not_in_identity()
    num_samples: int = MISSING


@dataclass(slots=True, kw_only=True)
class RetrieverConfig:
    """BM25 over the skills of the pool's samples."""

    name: str = not_in_identity()
    backend: Backend = MISSING
    k1: float = MISSING
    b: float = MISSING
    stop_words: bool = MISSING
    stemming: bool = MISSING


@dataclass(slots=True, kw_only=True)
class MistakesConfig:
    """How the mistake step is found."""

    name: str = not_in_identity()
    include_unparsed: bool = MISSING
    """Whether samples whose answer could not be read count as errors (flagged)."""


@dataclass(slots=True, kw_only=True)
class AnswerSwitchConfig(MistakesConfig):
    """The first step from which the teacher prefers the wrong answer and stays with it (paper, section 3.3)."""

    delta: float = MISSING
    persistence: int = MISSING
    """The paper's lambda."""
    window: Window = MISSING
    prior: float = MISSING
    fallback: bool = MISSING
    seed: int = MISSING
    """Decides which letter the gold answer gets in a two-option question made from an open one."""


@dataclass(slots=True, kw_only=True)
class PromptPerStepConfig(MistakesConfig):
    """The first step that the teacher calls wrong (Tyen et al. 2024; paper, Table 7)."""

    fallback: bool = MISSING


@dataclass(slots=True, kw_only=True)
class PseudoRationaleConfig(MistakesConfig):
    """The first step that departs from a reference rationale of the teacher's own (paper, Table 7)."""

    reference_max_new_tokens: int = MISSING
    fallback: bool = MISSING


@dataclass(slots=True, kw_only=True)
class RandomStepConfig(MistakesConfig):
    """A step drawn at random (paper, Table 7)."""

    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class AnnotatedConfig(MistakesConfig):
    """Steps from a file, JSON lines of {"id", "step"}: annotated by people, say (paper, Table 8)."""

    path: str = MISSING


@dataclass(slots=True, kw_only=True)
class WholeRationaleConfig(MistakesConfig):
    """No step is singled out (paper, Table 5, "w/o Mistake Identification")."""


@dataclass(slots=True, kw_only=True)
class SkillsConfig:
    """From mistakes to queries (paper, section 3.4)."""

    name: str = not_in_identity()
    source: SkillSource = MISSING
    """`all_samples` asks which skills each validation sample needs, right or wrong ("w/o Error Collection")."""
    query: Query = MISSING
    """`mistake_step` asks the teacher for no skill ("w/o Skill Analysis")."""


@dataclass(slots=True, kw_only=True)
class TuningConfig:
    """Tuning of the student."""

    name: str = not_in_identity()
    method: TuningMethod = MISSING
    lora_rank: int = MISSING
    lora_alpha: int = MISSING
    lora_dropout: float = MISSING
    learning_rate: float = MISSING
    projector_learning_rate: float | None = MISSING
    """null leaves the projector as it is."""
    batch_size: int = MISSING
    """Samples per optimiser step."""
    micro_batch_size: int = MISSING
    """Samples per forward pass."""
    epochs: int = MISSING
    warmup_ratio: float = MISSING
    weight_decay: float = MISSING
    gradient_clip: float = MISSING
    max_length: int | None = MISSING
    """Tokens, image tokens included; null is the model's context."""
    dtype: Dtype = MISSING
    """Of the weights that are not trained; those that are have 32 bits."""
    precision: Precision = MISSING
    gradient_checkpointing: bool = not_in_identity()
    target_modules: str = MISSING
    """`language_model` (linear maps of its attention and MLP), or a regular expression over module names."""
    resume: str = not_in_identity()
    """auto, never, must, or a checkpoint's path."""
    num_workers: int = not_in_identity()
    strategy: Strategy = not_in_identity()  # noqa: RUF009
    """With several processes, started by torchrun."""
    timeout_s: float = not_in_identity()
    """Seconds after which a process that waits for the others gives up."""


@dataclass(slots=True, kw_only=True)
class AuditConfig:
    """Which pool samples are removed because they meet a validation or test sample (`delamo.data.leakage`)."""

    name: str = not_in_identity()
    enabled: bool = MISSING
    perceptual_distance: int | None = MISSING
    """Bits of 64; null compares no near pictures, which saves decoding the pool's."""
    text_min_words: int | None = MISSING
    """null compares no texts."""


@dataclass(slots=True, kw_only=True)
class LoggerConfig:
    """Where curves and metrics go besides the run directory."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class NoLoggerConfig(LoggerConfig):
    """The run directory alone."""


@dataclass(slots=True, kw_only=True)
class CsvLoggerConfig(LoggerConfig):
    """`metrics.csv` in the run directory."""


@dataclass(slots=True, kw_only=True)
class WandbLoggerConfig(LoggerConfig):
    """Weights & Biases, offline unless `mode` says otherwise."""

    project: str = MISSING
    entity: str | None = MISSING
    mode: WandbMode = MISSING
    group: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class PathsConfig:
    """Folders, relative to the current directory."""

    runs: str = MISSING
    store: str = MISSING


@dataclass(slots=True, kw_only=True)
class SeedsConfig:
    """Three sources of chance apart; all follow `seed` unless set."""

    selection: int = MISSING
    training: int = MISSING
    decoding: int = MISSING


@dataclass(slots=True, kw_only=True)
class ExperimentConfig:
    """One experiment cell: a row of the table."""

    student: StudentConfig = MISSING
    teacher: TeacherConfig = MISSING
    task: TaskConfig = MISSING
    pool: PoolConfig = MISSING
    audit: AuditConfig = MISSING
    budget: BudgetConfig = MISSING
    selector: SelectorConfig = MISSING
    retriever: RetrieverConfig = MISSING
    mistakes: MistakesConfig = MISSING
    skills: SkillsConfig = MISSING
    tuning: TuningConfig = MISSING
    logger: LoggerConfig = not_in_identity()  # noqa: RUF009
    paths: PathsConfig = not_in_identity()  # noqa: RUF009
    seed: int = MISSING
    seeds: SeedsConfig = MISSING
    iterations: int = MISSING
    iterate_from: IterateFrom = MISSING
    force: bool = not_in_identity()
    """Run again where a finished run of the same config came from other code, weights or data."""
    answers_after: bool = not_in_identity()
    """Ask the tuned student the validation samples again, so that `delamo trace` tells what became of an error."""
    fast: bool = not_in_identity()
    """With `-m` and a table's preset: its smoke grid."""
    jobs: int = not_in_identity()
    """With `-m`: processes that share the cells of the sweep, and the processor's cores between them."""


SCHEMAS: dict[str, type] = {
    "cell": ExperimentConfig,
    **MODEL_SCHEMAS,
    **DATA_SCHEMAS,
    "audit/audit": AuditConfig,
    "budget/budget": BudgetConfig,
    **SELECTOR_SCHEMAS,
    "retriever/bm25": RetrieverConfig,
    "mistakes/answer_switch": AnswerSwitchConfig,
    "mistakes/prompt_per_step": PromptPerStepConfig,
    "mistakes/pseudo_rationale": PseudoRationaleConfig,
    "mistakes/random_step": RandomStepConfig,
    "mistakes/annotated": AnnotatedConfig,
    "mistakes/whole_rationale": WholeRationaleConfig,
    "skills/skills": SkillsConfig,
    "tuning/lora": TuningConfig,
    "logger/none": NoLoggerConfig,
    "logger/csv": CsvLoggerConfig,
    "logger/wandb": WandbLoggerConfig,
}


register(SCHEMAS)
