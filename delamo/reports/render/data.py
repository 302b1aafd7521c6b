"""Write the comparison for other programs: JSON with everything in it, CSV with a line for each method and run.

Shares are fractions of 1 here, unrounded; only the tables speak of percent.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from delamo.metrics.comparison import Verdict
from delamo.reports.comparison import Budget, Comparison, Method, Target, random_fill
from delamo.reports.render.formats import csv_records, json_text
from delamo.reports.render.numbers import not_judged
from delamo.runs.read import Run

SCHEMA_VERSION = 3
KEYS = {"retention": "kept", "detectable_effect": "detectable"}
"""Fields that this version of the schema calls otherwise."""
COLUMNS = (
    "student",
    "pool",
    "budget",
    "num_samples",
    "target",
    "method",
    "selector",
    "seed",
    "n",
    "accuracy",
    "accuracy_sd",
    "wilson_low",
    "wilson_high",
    "unparsed",
    "reference",
    "minus_reference",
    "minus_reference_low",
    "minus_reference_high",
    "p",
    "p_holm",
    "beats_reference",
    "verdict",
    "precision_at_n",
    "random_fill",
    "run",
)


def comparison_json(comparison: Comparison) -> str:
    """Write the comparison as one JSON object; a run is named by its path, a missing number is null."""
    return json_text({"schema_version": SCHEMA_VERSION, **_plain(comparison)})


def comparison_csv(comparison: Comparison) -> str:
    """Write the rows of the comparison as comma-separated values."""
    return csv_records(COLUMNS, rows(comparison))


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Build a row for each run, and before several of a method one for their mean, whose `seed` is `mean`."""
    records = []
    for budget in comparison.budgets:
        for target in budget.targets:
            for method in target.methods:
                if len(method.runs) > 1:
                    records.append(_mean_row(budget, target, method))
                records += [_run_row(budget, target, method, index) for index in range(len(method.runs))]
    return records


def _mean_row(budget: Budget, target: Target, method: Method) -> dict[str, Any]:
    planted = method.planted or {}
    return {
        **_names(budget, target, method),
        "seed": "mean",
        "accuracy": method.accuracy.mean,
        "accuracy_sd": method.accuracy.sd,
        "wilson_low": method.interval.low,
        "wilson_high": method.interval.high,
        "unparsed": method.unparsed.mean,
        "precision_at_n": planted.get("precision_at_n"),
        "random_fill": method.random_fill,
        **_versus(budget, method),
    }


def _run_row(budget: Budget, target: Target, method: Method, index: int) -> dict[str, Any]:
    """Build the row of a single run, with the comparison where it is the method's only run."""
    run = method.runs[index]
    test = run.metrics["test"]
    return {
        **_names(budget, target, method),
        "seed": run.cell["seed"],
        "n": len(run.outcomes),
        "accuracy": method.accuracy.runs[index],
        "wilson_low": test["wilson_low"],
        "wilson_high": test["wilson_high"],
        "unparsed": method.unparsed.runs[index],
        "precision_at_n": (run.metrics["planted"] or {}).get("precision_at_n"),
        "random_fill": random_fill([run]),
        "run": str(run.path),
        **(_versus(budget, method) if len(method.runs) == 1 else {}),
    }


def _names(budget: Budget, target: Target, method: Method) -> dict[str, Any]:
    return {
        "student": budget.student,
        "pool": budget.pool,
        "budget": budget.budget,
        "num_samples": budget.num_samples,
        "target": target.task,
        "method": method.label,
        "selector": method.selector,
        "n": method.n,
    }


def _versus(budget: Budget, method: Method) -> dict[str, Any]:
    versus = method.versus
    if versus is None:
        return {}
    inference = versus.inference
    return {
        "reference": budget.reference,
        "minus_reference": versus.difference,
        "minus_reference_low": inference.interval.low if inference else None,
        "minus_reference_high": inference.interval.high if inference else None,
        "p": inference.p if inference else None,
        "p_holm": method.p_holm,
        "beats_reference": None if method.beats_reference is None else int(method.beats_reference),
        "verdict": verdict_text(method),
    }


def verdict_text(method: Method) -> str | None:
    """Write the verdict, and where there is none why; None for what the table does not judge."""
    if method.verdict is Verdict.NOT_JUDGED and method.versus:
        return not_judged(method.versus)
    return method.verdict.value if method.verdict else None


def _plain(value: Any) -> Any:
    if isinstance(value, Run):
        return str(value.path)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Method):
        return {
            **_fields(value),
            "beats_reference": value.beats_reference,
            "verdict": verdict_text(value),
            "random_fill": value.random_fill,
        }
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _fields(value: Any) -> dict[str, Any]:
    return {KEYS.get(field.name, field.name): _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
