"""The config of one experiment: the groups that it is composed of, and what belongs to no group.

Each group's schema stands beside the code that it configures; what is left stands here. YAML files in `conf/` hold the
values, schemas the
types: every field is MISSING, so that a value lives in one place. A structured node takes no unknown key, not even with
    a leading `+`.
Closed choices are enums, written by name. `delamo.config.fields` says which fields decide a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from delamo.config.fields import not_in_identity
from delamo.config.registry import register
from delamo.data import PoolConfig, TaskConfig
from delamo.data import readers as _readers  # noqa: F401 -- declares every format
from delamo.data.readers.micro import MicroPoolConfig, MicroTaskConfig
from delamo.mistakes import MistakesConfig
from delamo.models.students.config import StudentConfig
from delamo.models.teachers.config import TeacherConfig
from delamo.retrieval.config import RetrieverConfig
from delamo.selectors import SelectorConfig
from delamo.stages.audit import AuditConfig
from delamo.stages.skills import SkillsConfig
from delamo.stages.tuning import IterateFrom
from delamo.tuning.config import TuningConfig


class WandbMode(Enum):
    """Where Weights & Biases keeps a run."""

    offline = "offline"
    online = "online"
    disabled = "disabled"


@dataclass(slots=True, kw_only=True)
class BudgetConfig:
    """How many pool samples one round may tune on."""

    name: str = not_in_identity()
    num_samples: int = MISSING


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
    """Seeds of three sources of randomness; all follow `seed` unless set."""

    selection: int = MISSING
    training: int = MISSING
    decoding: int = MISSING


@dataclass(slots=True, kw_only=True)
class ExperimentConfig:
    """One experiment: a cell of the table."""

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
    logger: LoggerConfig = not_in_identity()  # noqa: RUF009 -- makes a dataclasses.field
    paths: PathsConfig = not_in_identity()  # noqa: RUF009 -- makes a dataclasses.field
    seed: int = MISSING
    seeds: SeedsConfig = MISSING
    max_fill: float = not_in_identity()
    """Share of a selection, from 0 to 1, that may be drawn at random because a selector finds no more; above it, an
    error: the result would be reported under the name of a method that had little part in it."""
    iterations: int = MISSING
    iterate_from: IterateFrom = MISSING
    force: bool = not_in_identity()
    """Run again where a finished run of the same config came from other code, weights or data."""
    answers_after: bool = not_in_identity()
    """Ask the tuned student the validation samples again, so that `delamo trace` tells what became of an error."""
    fast: bool = not_in_identity()
    """With `-m` and a table's preset: its smoke grid."""
    jobs: int = not_in_identity()
    """With `-m`: processes that share the experiments of the sweep."""
    cpu_threads: int = MISSING
    """Of a process whose models run on the CPU. In which order threads add up decides the last digits of a sum and,
    over a tuning, single answers: it belongs to the identity of what models compute."""


def is_planted(config: ExperimentConfig) -> bool:
    """Return whether there is planted truth to compare with: the microworld is the pool or the task."""
    return isinstance(config.task, MicroTaskConfig) or isinstance(config.pool, MicroPoolConfig)


register(
    {
        "experiment": ExperimentConfig,
        "budget/budget": BudgetConfig,
        "logger/none": NoLoggerConfig,
        "logger/csv": CsvLoggerConfig,
        "logger/wandb": WandbLoggerConfig,
    }
)
