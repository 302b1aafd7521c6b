"""The plan of a grid as numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from delamo.config.compose import read_experiment
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.experiment import keep_data
from delamo.plan.assumptions import Assumptions
from delamo.plan.counting import StageWork, TeacherUsage, distinct_stages, num_items
from delamo.plan.measured import Recorded
from delamo.plan.offline import OfflineExperiment, OfflineOpener
from delamo.plan.resources import disk_bytes, tuning_gpu_hours
from delamo.plan.teacher_costs import asked, prices
from delamo.runs.folder import read_status, run_folder
from delamo.stages.plan import Plan

Overrides = Sequence[str]
CANNOT_RUN = (ValueError, OSError, ImportError, OmegaConfBaseException, HydraException)
"""What a cell raises that does not compose, whose data cannot be used, or that needs a package which is not here."""


@dataclass(slots=True)
class StageRow:
    """All distinct results of one kind."""

    name: str
    done: list[StageWork] = field(default_factory=list)
    to_do: list[StageWork] = field(default_factory=list)
    named: int = 0
    """Cells that name one of them, over all of them."""
    seconds: float | None = None
    """Of those that are to be done, by manifests of this store; None where one of them has nothing to go by."""
    disk_bytes: float | None = None
    """Of those that are to be done."""


@dataclass(slots=True)
class Bill:
    """What one kind of stage asks one teacher."""

    stage: str
    teacher: str
    asked: TeacherUsage
    usd: float | None
    """None where the price is not known."""


@dataclass(slots=True)
class Tunings:
    """Equal tunings that are to be done."""

    student: str
    num_samples: int | None
    epochs: int
    number: int
    gpu_hours: float | None
    """Of all of them."""


@dataclass(slots=True)
class Outlook:
    """The plan of a grid."""

    num_cells: int
    failed: list[tuple[Overrides, str]] = field(default_factory=list)
    """Cells that do not compose or cannot be planned, and why."""
    num_finished: int = 0
    """Cells whose run directory is finished with the results that they would have now."""
    works: dict[str, StageWork] = field(default_factory=dict)
    unshared: dict[str, StageWork] = field(default_factory=dict)
    """As `works`, if the audit removes something for each task; empty where that changes nothing."""
    missing: list[str] = field(default_factory=list)
    """Data that is not here."""
    audits_done: bool = True

    def to_do(self) -> list[StageWork]:
        """What the store lacks."""
        return [work for work in self.works.values() if not work.done]


def look(cells: Sequence[Overrides], configs: Iterable[DictConfig | Exception], assume: Assumptions) -> Outlook:
    """Compose, validate and plan every cell. Nothing is computed, asked or downloaded."""
    found, opener = Outlook(len(cells)), OfflineOpener(assume)
    planned: list[tuple[OfflineExperiment, Plan]] = []
    leaky: list[tuple[OfflineExperiment, Plan]] = []
    missing: dict[str, None] = {}
    with keep_data():
        for overrides, config in zip(cells, configs, strict=True):
            try:
                if isinstance(config, Exception):
                    raise config
                cell, plan = opener.open(read_experiment(config))
                leaky.append(opener.open(cell.config, leaky=True) if plan.audit else (cell, plan))
            except CANNOT_RUN as error:
                found.failed.append((overrides, " ".join(str(error).split())))
                continue
            planned.append((cell, plan))
            missing |= dict.fromkeys(cell.missing)
            found.num_finished += _is_finished(cell.config, plan)
            found.audits_done &= plan.audit is None or plan.audit.stored.done
    found.missing, found.works = list(missing), distinct_stages(planned)
    unshared = distinct_stages(leaky)
    found.unshared = unshared if len(unshared) > len(found.works) else {}
    return found


def _is_finished(config: ExperimentConfig, plan: Plan) -> bool:
    status = read_status(run_folder(config))
    return status.get("state") == "done" and status.get("result") == plan.evaluation.digest


def stages(found: Outlook, assume: Assumptions) -> list[StageRow]:
    """The distinct results by kind, inputs before what is made from them."""
    rows: dict[str, StageRow] = {}
    for work in found.works.values():
        row = rows.setdefault(work.name, StageRow(work.name))
        (row.done if work.done else row.to_do).append(work)
        row.named += work.num_experiments
    recorded = Recorded()
    for row in rows.values():
        row.seconds = total(recorded.seconds(work) for work in row.to_do)
        row.disk_bytes = total(_disk(work, recorded, assume) for work in row.to_do)
    return list(rows.values())


def _disk(work: StageWork, recorded: Recorded, assume: Assumptions) -> float | None:
    measured = recorded.disk_bytes(work)
    return disk_bytes(work, assume) if measured is None else measured


def bills(works: Iterable[StageWork], assume: Assumptions) -> list[Bill]:
    """What the teachers are asked, by stage and teacher."""
    rows: dict[tuple[str, str], Bill] = {}
    recorded = Recorded()
    for work in works:
        part = asked(work, assume, recorded)
        if part is None:
            continue
        teacher = work.experiment.config.teacher
        price, batch = prices(teacher)
        batch = batch and work.name == "pool_skills"
        usd = None if price is None else price.cost(part.prompt_tokens, part.reply_tokens, batch=batch)
        row = rows.setdefault((work.name, teacher.name), Bill(work.name, teacher.name, TeacherUsage(), 0.0))
        row.asked, row.usd = row.asked + part, total([row.usd, usd])
    return list(rows.values())


def tunings(works: Iterable[StageWork], assume: Assumptions) -> list[Tunings]:
    """Tunings of models that are no embedded ones, by student and number of samples."""
    groups: dict[tuple[str, int | None, int], list[StageWork]] = defaultdict(list)
    for work in works:
        config = work.experiment.config
        if work.name == "tuning" and not config.student.path.startswith("package:"):
            groups[config.student.name, num_items(work), config.tuning.epochs].append(work)
    return [
        Tunings(*key, len(same), total(tuning_gpu_hours(work, assume) for work in same))
        for key, same in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    ]


def total(parts: Iterable[float | None]) -> float | None:
    """Their sum; None where one of them is not known."""
    known = list(parts)
    return None if None in known else sum(known)
