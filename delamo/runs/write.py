"""What a finished cell leaves in its run directory; `delamo/runs/read.py` documents the files."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delamo.config.choices import Query, SkillSource
from delamo.config.compose import as_dict
from delamo.config.data import MicroPoolConfig, MicroTaskConfig
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.experiment import Experiment
from delamo.records import Answer, ItemScore, Leak, Mistake, Quarantined, Sample, Selected, Skill
from delamo.stages.base import Plan, Step
from delamo.store import QUARANTINE, write_json, write_rows, write_text
from delamo.store.provenance import provenance

SCHEMA_VERSION = 1


def write_results(folder: Path, cell: Experiment, plan: Plan) -> None:
    """Compute what is missing of the plan and write the run directory, `metrics.json` last."""
    steps = plan.steps(with_pretrained=is_planted(cell.config))
    stages = {name: _computed(step) for name, step in steps.items()}
    quarantined = _quarantined(cell, steps)
    selected = [row for done in plan.rounds for row in done.selection.stage.rows(Selected)]
    rows = plan.evaluation.stage.rows(ItemScore, "items")
    scores, incomplete, more = _by_item(cell, rows)
    quarantined += incomplete
    metrics = {
        "schema_version": SCHEMA_VERSION,
        "cell": _names(cell),
        "test": _test(scores) | more,
        "validation": _validation(steps),
        "selection": {"num_samples": len(selected), "reasons": dict(Counter(row.reason for row in selected))},
        "leakage": dict(Counter(leak.kind for leak in _leaks(steps))) if "audit" in steps else None,
        "planted": _planted(cell, plan, steps, scores, selected) if is_planted(cell.config) else None,
        "seconds": {name: entry["seconds"] for name, entry in stages.items()},
        "quarantined": dict(Counter(row.reason for row in quarantined)),
        "cost": _cost(steps),
    }
    write_text(folder / "config.yaml", _yaml(as_dict(cell.config)))
    write_json(folder / "manifest.json", _manifest(cell, stages))
    write_json(folder / "stages.json", stages)
    write_rows(folder / "items.jsonl", scores)
    if more:
        write_rows(folder / "rotations.jsonl", rows)
    write_rows(folder / "selection.jsonl", selected)
    write_rows(folder / QUARANTINE, quarantined)
    write_rows(folder / "leaks.jsonl", _leaks(steps))
    _link_adapter(plan, folder / "adapter")
    write_json(folder / "metrics.json", metrics)


def _computed(step: Step) -> dict[str, Any]:
    """Where a step's result lies, computed now or found; what it took, as measured when it was computed."""
    stage = step.result()
    reused, manifest = step.digest not in step.computed, stage.manifest()
    took = {name: manifest[name] for name in ("accounting", "peak_memory_bytes", "disk_bytes") if name in manifest}
    return {"path": str(stage.path), "digest": step.digest, "seconds": manifest["seconds"], "reused": reused, **took}


def _names(cell: Experiment) -> dict[str, Any]:
    config = cell.config
    names = {role: getattr(config, role).name for role in ("task", "student", "teacher", "pool", "selector", "budget")}
    return names | {"num_samples": config.budget.num_samples, "seed": config.seed, "iterations": config.iterations}


def _test(scores: Sequence[ItemScore]) -> dict[str, Any]:
    from delamo.metrics.statistics import wilson

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


def _by_item(cell: Experiment, rows: list[ItemScore]) -> tuple[list[ItemScore], list[Quarantined], dict[str, float]]:
    """(one score an item, items that were not asked in full, more for the section `test`): with circular evaluation, an item has several rows."""
    if not getattr(cell.config.task, "circular", False):
        return rows, [], {}
    from delamo.data.rotations import original
    from delamo.report.sections.circular import circular_items, vanilla_accuracy

    items, bad = circular_items(rows, Counter(original(sample.id) for sample in cell.task.test))
    return items, bad, {"vanilla_accuracy": vanilla_accuracy(rows, items)} if items else {}


def _validation(steps: Mapping[str, Step]) -> dict[str, Any] | None:
    """The untuned student on the validation samples; None where the selector did not look at its answers."""
    if "answers" not in steps:
        return None
    rows = steps["answers"].stage.rows(Answer)
    correct = sum(bool(row.correct) for row in rows)
    errors = steps["mistakes"].stage.manifest()["accounting"]
    return {
        "n": len(rows),
        "correct": correct,
        "unparsed": sum(row.correct is None for row in rows),
        "errors": errors["in"] - errors["skipped"]["no error"],
        "accuracy": correct / len(rows) if rows else None,
        "steps": _mean_steps(steps["mistakes"].stage.rows(Mistake)),
    }


def _mean_steps(mistakes: Sequence[Mistake]) -> float | None:
    """Steps of the rationales in which a mistake was looked for (compare paper, Table 12); None where there is none."""
    return sum(len(row.steps) for row in mistakes) / len(mistakes) if mistakes else None


def is_planted(config: ExperimentConfig) -> bool:
    """Whether there is planted truth to compare with: the microworld is the pool or the task."""
    return isinstance(config.task, MicroTaskConfig) or isinstance(config.pool, MicroPoolConfig)


def _planted(
    cell: Experiment, plan: Plan, steps: Mapping[str, Step], scores: Sequence[ItemScore], selected: Sequence[Selected]
) -> dict[str, Any]:
    from delamo.metrics import planted
    from delamo.models.students.local import resolve

    def rows(name: str, cls: type) -> list[Any]:
        return steps[name].stage.rows(cls) if name in steps else []

    return planted.measure(
        missing=planted.missing_skills(Path(resolve(cell.config.student.path))),
        validation=cell.task.validation,
        test=cell.task.test,
        before=plan.pretrained.stage.rows(ItemScore, "items"),
        after=scores,
        selected=selected,
        selected_samples=[row for done in plan.rounds for row in done.selection.stage.rows(Sample, "selected_samples")],
        mistakes=rows("mistakes", Mistake),
        skills=rows("skills", Skill) if _names_missing_skills(cell) else (),
    )


def _names_missing_skills(cell: Experiment) -> bool:
    """Whether the teacher names one missing skill for each error: quoted steps and skills of all samples are other things."""
    skills = cell.config.skills
    return skills.source is SkillSource.errors and skills.query is Query.skill


def _quarantined(cell: Experiment, steps: Mapping[str, Step]) -> list[Quarantined]:
    """Rows held back while reading the pool and by every stage, the task's reading among them."""
    return [*cell.pool.quarantined, *(row for step in steps.values() for row in step.stage.quarantined())]


def _leaks(steps: Mapping[str, Step]) -> list[Leak]:
    """Pool samples that were not selected from, since they meet the task's."""
    return steps["audit"].stage.rows(Leak, "leaks") if "audit" in steps else []


def _cost(steps: Mapping[str, Step]) -> dict[str, Any]:
    """What the teacher's calls took, by stage, as recorded when the stage was computed; the report counts a shared one once."""
    manifests = {name: step.stage.manifest() for name, step in steps.items()}
    return {name: manifest["spent"] for name, manifest in manifests.items() if manifest.get("spent")}


def _manifest(cell: Experiment, stages: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "config": as_dict(cell.config),
        "inputs": {"task": cell.task.digest, "pool": cell.pool.digest, "student": cell.student_digest},
        "stages": {name: entry["digest"] for name, entry in stages.items()},
        "seeds": as_dict(cell.config.seeds),
        "seconds": sum(entry["seconds"] for entry in stages.values() if not entry["reused"]),
        **provenance(),
    }


def _link_adapter(plan: Plan, folder: Path) -> None:
    """The last adapter, hard-linked where the file system can: adapters of large models are not kept twice."""
    shutil.rmtree(folder, ignore_errors=True)
    if plan.rounds:
        shutil.copytree(plan.rounds[-1].adapter.stage.path / "adapter", folder, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
