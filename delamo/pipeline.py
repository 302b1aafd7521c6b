"""One experiment: its stages in order, and the rounds of iteration. Start reading here.

    answers -> mistakes -> skills -+
                                   +-> selection -> tuning -> evaluation
    pool -> pool skills -> index --+
    pool -> fingerprints -> audit: what selection may not choose

Each stage is one class in `delamo.stages`: what decides its result, and how it is computed. Here they are wired. Other
selectors go by other inputs (embeddings, hidden states, difficulty, gradients), which their own files declare. Planning
computes nothing but the audit; running computes the stages that the store lacks, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from delamo.data import Pool
from delamo.experiment.config import ExperimentConfig, is_planted
from delamo.experiment.experiment import Experiment, open_experiment
from delamo.experiment.models import Models
from delamo.runs.folder import attempt, run_folder
from delamo.selectors import MISSING_SKILLS, SKILL_INDEX, Input
from delamo.selectors.budget import require_left
from delamo.stages.answers import CollectAnswers, Evaluate
from delamo.stages.audit import AuditPool, FingerprintPool
from delamo.stages.base import Stage
from delamo.stages.index import IndexSkills
from delamo.stages.mistakes import FindMistakes
from delamo.stages.plan import Plan, Round
from delamo.stages.selection import Select
from delamo.stages.skills import AnnotatePool, NameNeededSkills, NameSkills, Query, QuoteMistakes, SkillSource
from delamo.stages.task import KeepTask
from delamo.stages.tuning import Tune


def run_experiment(config: ExperimentConfig, models: Models | None = None) -> Path:
    """Run what is missing of one experiment and write its run directory; returns the directory.

    Args:
        config: of the experiment.
        models: what computes; made from the config unless given.

    Raises:
        ValueError: a budget above the pool, data that cannot be used, or a finished run of other code or data.
    """
    from delamo.runs.write import write_run
    from delamo.tracking.loggers import log_finished, open_logger

    folder = run_folder(config)
    with attempt(folder, config) as current:
        experiment = open_experiment(config, models)
        audit = plan_audit(experiment)
        plan = plan_experiment(experiment, audit, find_candidates(experiment, audit))
        if not current.begin(plan.evaluation.digest, force=config.force):
            log_finished(config, folder, current.number)
            return folder
        with open_logger(config, folder, current.number) as experiment.models.logger:
            for stage in plan.stages().values():
                stage.result()
            write_run(folder, experiment, plan)
    return folder


def plan_audit(experiment: Experiment) -> AuditPool | None:
    """Plan the audit of the pool against the task; None where nothing is to be audited."""
    selector = experiment.selector
    if not selector.tunes or selector.own_pool or not experiment.config.audit.enabled:
        return None
    return AuditPool(experiment, FingerprintPool(experiment))


def find_candidates(experiment: Experiment, audit: AuditPool | None) -> Pool:
    """Return what may be selected: what the audit leaves of the pool, or a pool of the selector's own making.

    The audit is computed for it, before anything else is planned: what it leaves, not how it was found, decides a
    selection, so that experiments on several tasks share what they select and tune where nothing was removed.

    Raises:
        ValueError: the audit leaves less than the budget, or nothing.
    """
    selector, config = experiment.selector, experiment.config
    if selector.own_pool:
        return selector.own_pool(experiment.task.validation, config.student.prompt.value)
    if audit is None:
        return experiment.pool
    candidates = audit.candidates()
    num_samples = None if selector.takes_all else config.budget.num_samples
    require_left(num_samples, len(candidates), audit.leaks, audit.stored.path / "leaks.jsonl")
    return candidates


def plan_experiment(experiment: Experiment, audit: AuditPool | None, candidates: Pool) -> Plan:
    """Wire the loop of the paper (section 3): collect errors, find mistakes, name skills, retrieve, tune.

    Then evaluate.

    Args:
        experiment: with its data read.
        audit: of the pool, done or not.
        candidates: what may be selected.
    """
    config, selector = experiment.config, experiment.selector
    pretrained = Evaluate(experiment)
    plan = Plan(KeepTask(experiment), audit, pretrained)
    adapter: Tune | None = None
    for iteration in range(config.iterations if selector.tunes else 0):
        needs = {need.name: wire_input(experiment, need, adapter, candidates) for need in selector.needs}
        stages = {name: stage for name, stage in needs.items() if stage is not None}
        selection = Select(experiment, candidates, stages, iteration)
        adapter = Tune(experiment, [*(round.selection for round in plan.rounds), selection], adapter)
        plan.rounds.append(Round(stages, selection, adapter))
        plan.evaluation = Evaluate(experiment, adapter)
    if plan.rounds and is_planted(config):
        plan.compared_with = pretrained
    if MISSING_SKILLS in selector.needs and config.answers_after:
        plan.answers_after = CollectAnswers(experiment, adapter)
    return plan


def wire_input(experiment: Experiment, need: Input, adapter: Stage | None, candidates: Pool) -> Stage | None:
    """Make the stage behind an input of a selector; None for what is at hand."""
    if need is MISSING_SKILLS:
        return missing_skills(experiment, adapter)
    if need is SKILL_INDEX:
        return IndexSkills(experiment, AnnotatePool(experiment))
    return need.stage(experiment, adapter, candidates) if need.stage else None


def missing_skills(experiment: Experiment, adapter: Stage | None) -> Stage:
    """Wire the stages that say what the student lacks, by its errors on the validation samples."""
    config = experiment.config.skills
    if config.source is SkillSource.all_samples:
        return NameNeededSkills(experiment)
    mistakes = FindMistakes(experiment, CollectAnswers(experiment, adapter))
    return (
        QuoteMistakes(experiment, mistakes) if config.query is Query.mistake_step else NameSkills(experiment, mistakes)
    )
