"""Write the run directory of an experiment whose stages are done; `delamo/runs/read.py` documents the files."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from delamo.config.compose import as_dict
from delamo.data.rotations import original
from delamo.experiment.config import is_planted
from delamo.experiment.experiment import Experiment
from delamo.metrics import planted
from delamo.metrics.circular import circular_items, vanilla_accuracy
from delamo.metrics.statistics import wilson
from delamo.models.hf.loading import resolve
from delamo.records import Answer, ItemScore, Leak, Mistake, Quarantined, Sample, Selected, Skill
from delamo.stages.base import Stage
from delamo.stages.plan import Plan
from delamo.store import QUARANTINE, write_json, write_rows, write_text
from delamo.store.provenance import provenance

SCHEMA_VERSION = 1


def write_run(folder: Path, experiment: Experiment, plan: Plan) -> None:
    """Write the run directory of a plan whose stages are done, `metrics.json` last.

    Raises:
        ValueError: no test sample could be answered.
    """
    config, stages = experiment.config, plan.stages()
    entries = {name: _stage_entry(experiment, stage) for name, stage in stages.items()}
    selected = [row for round in plan.rounds for row in round.selection.stored.rows(Selected)]
    rows = plan.evaluation.stored.rows(ItemScore, "items")
    scores, incomplete, circular = _score_items(experiment, rows)
    quarantined = [
        *experiment.pool.quarantined,
        *(row for stage in stages.values() for row in stage.stored.quarantined()),
        *incomplete,
    ]
    leaks = stages["audit"].stored.rows(Leak, "leaks") if "audit" in stages else []
    metrics = {
        "schema_version": SCHEMA_VERSION,
        "cell": _names(experiment),
        "test": _test_metrics(scores) | circular,
        "validation": _validation_metrics(stages),
        "selection": {"num_samples": len(selected), "reasons": dict(Counter(row.reason for row in selected))},
        "leakage": dict(Counter(leak.kind for leak in leaks)) if "audit" in stages else None,
        "planted": _planted_metrics(experiment, plan, scores, selected) if is_planted(config) else None,
        "seconds": {name: entry["seconds"] for name, entry in entries.items()},
        "quarantined": dict(Counter(row.reason for row in quarantined)),
        "cost": _teacher_usage(stages),
    }
    write_text(folder / "config.yaml", yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True))
    write_json(folder / "manifest.json", _manifest(experiment, entries))
    write_json(folder / "stages.json", entries)
    write_rows(folder / "items.jsonl", scores)
    if circular:
        write_rows(folder / "rotations.jsonl", rows)
    write_rows(folder / "selection.jsonl", selected)
    write_rows(folder / QUARANTINE, quarantined)
    write_rows(folder / "leaks.jsonl", leaks)
    _link_adapter(plan, folder / "adapter")
    write_json(folder / "metrics.json", metrics)


def _stage_entry(experiment: Experiment, stage: Stage) -> dict[str, Any]:
    """Say where a stage's result lies, whether it was computed now, and what it took when it was computed."""
    manifest = stage.stored.manifest()
    recorded = ("accounting", "peak_memory_bytes", "disk_bytes", "health")
    costs = {name: manifest[name] for name in recorded if name in manifest}
    return {
        "path": str(stage.stored.path),
        "digest": stage.digest,
        "seconds": manifest["seconds"],
        "reused": stage.digest not in experiment.computed,
        **costs,
    }


def _names(experiment: Experiment) -> dict[str, Any]:
    config = experiment.config
    names = {role: getattr(config, role).name for role in ("task", "student", "teacher", "pool", "selector", "budget")}
    return names | {"num_samples": config.budget.num_samples, "seed": config.seed, "iterations": config.iterations}


def _test_metrics(scores: Sequence[ItemScore]) -> dict[str, Any]:
    if not scores:
        raise ValueError("no test sample could be answered: quarantine.jsonl of the evaluation stage says why")
    correct = sum(bool(row.correct) for row in scores)
    interval = wilson(correct / len(scores), len(scores))
    return {
        "n": len(scores),
        "correct": correct,
        "unparsed": sum(not row.parsed for row in scores),
        "accuracy": correct / len(scores),
        "wilson_low": interval.low,
        "wilson_high": interval.high,
    }


def _score_items(
    experiment: Experiment, rows: list[ItemScore]
) -> tuple[list[ItemScore], list[Quarantined], dict[str, float]]:
    """Join the rows of circular evaluation, where an item has several.

    Returns:
        (one score for each item, items that were not asked in full, more for the section `test`).
    """
    if not experiment.task.circular:
        return rows, [], {}
    items, incomplete = circular_items(rows, Counter(original(sample.id) for sample in experiment.task.test))
    return items, incomplete, {"vanilla_accuracy": vanilla_accuracy(rows, items)} if items else {}


def _validation_metrics(stages: Mapping[str, Stage]) -> dict[str, Any] | None:
    """Describe the untuned student on the validation samples; None where the selector did not look at its answers."""
    if "answers" not in stages:
        return None
    answers = stages["answers"].stored.rows(Answer)
    mistakes = stages["mistakes"].stored.rows(Mistake)
    correct = sum(bool(row.correct) for row in answers)
    counts = stages["mistakes"].stored.manifest()["accounting"]
    return {
        "n": len(answers),
        "correct": correct,
        "unparsed": sum(row.correct is None for row in answers),
        "errors": counts["in"] - counts["skipped"]["no error"],
        "accuracy": correct / len(answers) if answers else None,
        # Of the rationales in which a mistake was looked for; compare paper, Table 12.
        "steps": sum(len(row.steps) for row in mistakes) / len(mistakes) if mistakes else None,
    }


def _planted_metrics(
    experiment: Experiment, plan: Plan, scores: Sequence[ItemScore], selected: Sequence[Selected]
) -> dict[str, Any]:
    stages = plan.stages()
    selections = [round.selection.stored for round in plan.rounds]
    named = "skills" in stages and experiment.config.skills.names_missing_skills
    before = plan.compared_with or plan.evaluation
    return planted.measure(
        missing=planted.missing_skills(Path(resolve(experiment.config.student.path))),
        validation=experiment.task.validation,
        test=experiment.task.test,
        before=before.stored.rows(ItemScore, "items"),
        after=scores,
        selected=selected,
        selected_samples=[row for stored in selections for row in stored.rows(Sample, "selected_samples")],
        mistakes=stages["mistakes"].stored.rows(Mistake) if "mistakes" in stages else [],
        skills=stages["skills"].stored.rows(Skill) if named else (),
    )


def _teacher_usage(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Collect what the teacher's calls took when each stage was computed; the report counts a shared one once."""
    manifests = {name: stage.stored.manifest() for name, stage in stages.items()}
    return {name: manifest["spent"] for name, manifest in manifests.items() if manifest.get("spent")}


def _manifest(experiment: Experiment, entries: Mapping[str, Any]) -> dict[str, Any]:
    config = experiment.config
    return {
        "schema_version": SCHEMA_VERSION,
        "config": as_dict(config),
        "inputs": {
            "task": experiment.task.digest,
            "pool": experiment.pool.digest,
            "student": experiment.student_digest,
        },
        "stages": {name: entry["digest"] for name, entry in entries.items()},
        "seeds": as_dict(config.seeds),
        "seconds": sum(entry["seconds"] for entry in entries.values() if not entry["reused"]),
        **provenance(),
    }


def _link_adapter(plan: Plan, folder: Path) -> None:
    """Link the last adapter hard where the file system can: adapters of large models are not kept twice."""
    shutil.rmtree(folder, ignore_errors=True)
    if plan.rounds:
        shutil.copytree(plan.rounds[-1].adapter.stored.path / "adapter", folder, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
