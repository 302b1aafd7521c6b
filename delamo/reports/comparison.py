"""Compare runs: by budget, target and method, each method against the reference.

Numbers only, no layout.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from delamo.metrics import statistics
from delamo.metrics.comparison import ALPHA, PairedComparison, Verdict, compare, verdict
from delamo.metrics.minimum_detectable_effect import MinimumDetectableEffect, minimum_detectable_effect
from delamo.metrics.overlap import Overlap, over_targets
from delamo.metrics.retention import Retention, retention
from delamo.metrics.statistics import Interval, SeedSummary
from delamo.metrics.variance import VarianceSplit, split
from delamo.records import FILL
from delamo.reports.methods import (
    PRETRAINED,
    RANDOM,
    drawn,
    follows_budget,
    group,
    label_keys,
    method_order,
    newest,
    same_setting,
    short,
    target_order,
)
from delamo.runs.read import Run, RunCollection, Unfinished, stage_kind

PRETRAINED_LABEL = "pretrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method on one target: a row of a table. Shares are fractions of 1."""

    label: str
    selector: str
    seeds: tuple[int, ...]
    n: int
    """Test items."""
    accuracy: SeedSummary
    interval: Interval
    """Wilson, 95 %, of the mean over runs and `n` items."""
    unparsed: SeedSummary
    is_reference: bool
    """Whether the others are compared with it."""
    versus: PairedComparison | None
    """Against the reference. None for the reference itself, and where no run of it has the same settings."""
    p_holm: float | None
    """The p of `versus` by Holm over the judged methods and targets of the budget; None for the others."""
    detectable_effect: MinimumDetectableEffect | None
    """What the comparison could have found; None where `p_holm` is."""
    variance: VarianceSplit
    retention: Retention | None
    """Against the student before tuning; None for that student itself, and where it was not run on the target."""
    planted: dict[str, Any] | None
    """The planted metrics, averaged over the runs."""
    runs: tuple[Run, ...]

    @property
    def random_fill(self) -> float:
        """Share of its samples that were drawn at random because what it goes by found too few, over its runs."""
        return random_fill(self.runs)

    @property
    def is_judged(self) -> bool:
        """Whether the table judges it against the reference: every method but that one and the pretrained student."""
        return not self.is_reference and self.selector != PRETRAINED

    @property
    def verdict(self) -> Verdict | None:
        """What may be said of it against the reference; None for what the table does not judge (`is_judged`)."""
        return verdict(self.versus, self.p_holm) if self.is_judged else None

    @property
    def beats_reference(self) -> bool | None:
        """Whether the verdict is that; None where there is none."""
        return None if self.verdict in (None, Verdict.NOT_JUDGED) else self.verdict is Verdict.BEATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target task at one budget."""

    task: str
    methods: list[Method]
    """In the order of `delamo.reports.methods.method_order`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One table: everything tuned on the same number of samples of one pool, by one student."""

    student: str
    pool: str | None
    budget: str | None
    """None where nothing but the pretrained student was run."""
    num_samples: int | None
    reference: str
    """The method, by selector or label, that the others are compared with."""
    targets: list[Target]
    overlap: Overlap | None
    """Of what the methods selected; None where less than two did, those that take all apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """One kind of stage over all runs."""

    stage: str
    computed: int
    """Results that a run computed."""
    reused: int
    """Results that a run found in the store."""
    seconds: float
    """Of the distinct results, as measured when they were computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineCount:
    """Rows held back for one reason at one stage."""

    stage: str
    reason: str
    rows: int
    """Distinct rows: one that several cells met counts once."""
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All finished runs of a folder, compared."""

    root: Path
    reference: str
    runs: list[Run]
    budgets: list[Budget]
    superseded: list[Run]
    """Finished runs of a cell that a newer run replaces."""
    unfinished: list[Unfinished]
    stages: list[StageTime]
    quarantined: list[QuarantineCount]


def compare_runs(collection: RunCollection, reference: str = RANDOM) -> Comparison:
    """Compute everything that the report says.

    Args:
        collection: the runs.
        reference: the selector that the others are compared with (`random`, `insta`, `pretrained` for `none`), or one
            method's label, as the tables print it, where a selector was run with several settings.

    Raises:
        ValueError: a run's items contradict its metrics, there is no run of the reference, or it stands for several
            methods that nothing can be compared with.
    """
    runs, superseded = _split_superseded(collection.runs)
    tables, name = _by_budget(runs), PRETRAINED if reference == PRETRAINED_LABEL else reference
    _check_reference(name, tables)
    budgets = [_budget(key, same, name) for key, same in tables]
    _check_comparisons(name, budgets)
    return Comparison(
        root=collection.root,
        reference=name,
        runs=runs,
        budgets=budgets,
        superseded=superseded,
        unfinished=collection.unfinished,
        stages=stage_times(runs),
        quarantined=quarantine_counts(runs),
    )


def random_fill(runs: Sequence[Run]) -> float:
    """Compute the share of the selected samples, over runs, that were drawn at random for want of hits."""
    selections = [run.metrics["selection"] for run in runs]
    num_samples = sum(selection["num_samples"] for selection in selections)
    return sum(selection["reasons"].get(FILL, 0) for selection in selections) / max(num_samples, 1)


def stage_times(runs: Sequence[Run]) -> list[StageTime]:
    """Count results and sum seconds of each kind of stage, in the order in which the cells list them.

    A kind is the stage's folder in the store: the pretrained student's evaluation is one result, whether a cell calls
    it its own or the one to compare with.
    """
    seconds: dict[str, dict[str, float]] = {}
    reused: Counter[str] = Counter()
    computed: Counter[str] = Counter()
    for stage in (stage for run in runs for stage in run.stages.values()):
        kind = stage_kind(stage)
        seconds.setdefault(kind, {})[stage["digest"]] = stage["seconds"]
        (reused if stage["reused"] else computed)[kind] += 1
    return [
        StageTime(stage=kind, computed=computed[kind], reused=reused[kind], seconds=sum(distinct.values()))
        for kind, distinct in seconds.items()
    ]


def quarantine_counts(runs: Sequence[Run]) -> list[QuarantineCount]:
    """Count distinct quarantined rows by stage and reason, the most frequent first."""
    rows: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    concerned: dict[tuple[str, str], set[Path]] = defaultdict(set)
    for run in runs:
        for row in run.quarantined:
            rows[row.stage, row.reason].add((row.id, row.detail))
            concerned[row.stage, row.reason].add(run.path)
    order = sorted(rows, key=lambda key: (-len(rows[key]), key))
    return [
        QuarantineCount(stage=stage, reason=reason, rows=len(rows[stage, reason]), runs=len(concerned[stage, reason]))
        for stage, reason in order
    ]


def mean_planted(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Average the planted metrics number by number over the runs that have them, counts too where they differ."""
    planted = [run.metrics["planted"] for run in runs if run.metrics["planted"]]
    return _mean_of(planted) if planted else None


def _mean_of(values: list[Any]) -> Any:
    values = [value for value in values if value is not None]
    if not values:
        return None
    first = values[0]
    if isinstance(first, dict):
        return {key: _mean_of([value.get(key) for value in values]) for key in first}
    if isinstance(first, bool) or all(value == first for value in values):
        return first
    return statistics.mean(values)


def _split_superseded(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    kept, superseded = [], []
    cells: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        cells[tuple(run.cell.get(key) for key in ("task", "student", "pool", "budget"))].append(run)
    for same in cells.values():
        for _, method in group(same):
            new, old = newest(method)
            kept += new
            superseded += old
    return kept, superseded


def _check_reference(reference: str, tables: Sequence[tuple[tuple[Any, ...], list[Run]]]) -> None:
    """Refuse a reference that no run is of; runs without random, the default, have tables without comparisons."""
    known = {run.cell["selector"] for _, runs in tables for run in runs}
    known |= {label for _, runs in tables for label, _ in group(runs, label_keys(runs))}
    if reference != RANDOM and reference not in known:
        raise ValueError(
            f"reference is {reference!r}, and no run is of that method: choose one of {', '.join(sorted(known))}"
        )


def _check_comparisons(reference: str, budgets: Sequence[Budget]) -> None:
    """Refuse a selector as the reference that stands for several methods and leaves nothing to compare."""
    methods = [method for budget in budgets for target in budget.targets for method in target.methods]
    names = sorted({method.label for method in methods if method.is_reference})
    if reference != RANDOM and len(names) > 1 and not any(method.versus for method in methods):
        choices = "\n".join(f"  {label}" for label in names)
        raise ValueError(
            f"reference is {reference!r}, which is {len(names)} methods here, and nothing can be compared with it: "
            f"choose one:\n{choices}"
        )


def _by_budget(runs: list[Run]) -> list[tuple[tuple[Any, ...], list[Run]]]:
    """Sort runs by (student, pool, budget, num_samples).

    What no budget changes stands in each table of its student, pool and task, and where there is none in a table of its
    own.
    """
    tables: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    free = [run for run in runs if not follows_budget(run.cell["selector"])]
    for run in runs:
        if follows_budget(run.cell["selector"]):
            tables[tuple(run.cell[key] for key in ("student", "pool", "budget", "num_samples"))].append(run)
    tasks = {key: {run.cell["task"] for run in same} for key, same in tables.items()}
    for run in free:
        cell = run.cell
        own_pool = {key for key in tasks if cell["selector"] == PRETRAINED or key[1] == cell["pool"]}
        fits = [key for key in tasks if key in own_pool and key[0] == cell["student"] and cell["task"] in tasks[key]]
        for key in fits or [(cell["student"], None, None, None)]:
            tables[key].append(run)
    return sorted(tables.items(), key=lambda item: (item[0][0], str(item[0][1]), item[0][3] or 0, str(item[0][2])))


def _budget(key: tuple[Any, ...], runs: list[Run], reference: str) -> Budget:
    student, pool, budget, num_samples = key
    tasks = sorted({run.cell["task"] for run in runs}, key=target_order)
    keys = label_keys(runs)
    targets = [
        Target(task=task, methods=_methods([run for run in runs if run.cell["task"] == task], reference, keys))
        for task in tqdm(tasks, desc=f"comparing, budget {budget}", unit="target", delay=5, leave=False)
    ]
    targets = _judged_together([replace(target, methods=_with_retention(target.methods)) for target in targets])
    return Budget(
        student=student,
        pool=pool,
        budget=budget,
        num_samples=num_samples,
        reference=reference,
        targets=targets,
        overlap=over_targets((_selections(target) for target in targets), [short(label) for label in labels(targets)]),
    )


def labels(targets: Sequence[Target]) -> list[str]:
    """List the labels of the methods on any of the targets, in the order of tables."""
    methods = {(method.label, method.selector) for target in targets for method in target.methods}
    return [label for label, _ in sorted(methods, key=lambda pair: method_order(pair[1], pair[0]))]


def _judged_together(targets: list[Target]) -> list[Target]:
    """Correct all comparisons of the table by Holm, and compute what each could have found at that level."""
    inferences = {
        id(method): method.versus.inference
        for target in targets
        for method in target.methods
        if method.is_judged and method.versus and method.versus.inference
    }
    adjusted = statistics.holm([inference.p for inference in inferences.values()])
    p_holm = dict(zip(inferences, adjusted, strict=True))

    def with_p(method: Method) -> Method:
        if id(method) not in p_holm:
            return method
        effect = minimum_detectable_effect(inferences[id(method)], alpha=ALPHA, num_comparisons=len(inferences))
        return replace(method, p_holm=p_holm[id(method)], detectable_effect=effect)

    return [replace(target, methods=[with_p(m) for m in target.methods]) for target in targets]


def _with_retention(methods: list[Method]) -> list[Method]:
    """Compare each tuned method with the pretrained student of the same settings."""
    compared = []
    for method in methods:
        before = [m.runs[0] for m in methods if m.selector == PRETRAINED and same_setting(m.runs[0], method.runs[0])]
        if method.selector != PRETRAINED and len(before) == 1:
            outcomes = [run.outcomes for run in method.runs]
            method = replace(method, retention=retention(before[0].outcomes, outcomes))
        compared.append(method)
    return compared


def _selections(target: Target) -> dict[str, list[frozenset[str]]]:
    """Collect, by method's name, what each of its runs selected from the pool under the budget."""
    methods = {
        short(m.label): [run.selected_ids() for run in m.runs] for m in target.methods if follows_budget(m.selector)
    }
    return {label: runs for label, runs in methods.items() if all(runs)}


def _methods(runs: list[Run], reference: str, keys: dict[str, list[str]]) -> list[Method]:
    methods = [(label, newest(same)[0]) for label, same in group(runs, keys)]
    methods.sort(key=lambda pair: method_order(pair[1][0].cell["selector"], pair[0]))
    return [_method(label, same, methods, reference) for label, same in methods]


def _method(label: str, runs: list[Run], methods: list[tuple[str, list[Run]]], reference: str) -> Method:
    selector, n = runs[0].cell["selector"], min(len(run.outcomes) for run in runs)
    accuracy = statistics.over_seeds([statistics.accuracy(run.scores) for run in runs])
    is_reference = _is_named(reference, label, runs)
    return Method(
        label=PRETRAINED_LABEL + label.removeprefix(PRETRAINED) if selector == PRETRAINED else label,
        selector=selector,
        seeds=tuple(run.cell["seed"] for run in runs),
        n=n,
        accuracy=accuracy,
        interval=statistics.wilson(accuracy.mean, n),
        unparsed=statistics.over_seeds([statistics.unparsed_rate(run.scores) for run in runs]),
        is_reference=is_reference,
        versus=None if is_reference else _versus(runs, methods, reference),
        p_holm=None,
        detectable_effect=None,
        variance=split([run.outcomes for run in runs], [run.selection_digest for run in runs]),
        retention=None,
        planted=mean_planted(runs),
        runs=tuple(runs),
    )


def _is_named(reference: str, label: str, runs: Sequence[Run]) -> bool:
    return reference in (label, runs[0].cell["selector"])


def _versus(runs: list[Run], methods: list[tuple[str, list[Run]]], reference: str) -> PairedComparison | None:
    """Compare with the reference, of any settings where it was named by its label, else of the same ones.

    Returns:
        The comparison; None where there is no such run, or no telling which.
    """
    matching = [
        same
        for label, same in methods
        if _is_named(reference, label, same)
        and (label == reference != same[0].cell["selector"] or same_setting(runs[0], same[0]))
    ]
    if len(matching) != 1:
        return None
    return compared(runs, matching[0], [same for _, same in methods])


def compared(first: Sequence[Run], second: Sequence[Run], methods: Sequence[Sequence[Run]]) -> PairedComparison:
    """Compare the runs of two methods on one target.

    Args:
        first: runs of a method.
        second: runs of the other.
        methods: runs of each method on the target, those two among them or not: how they vary between runs stands in
            for what is not known of a method that was run once.
    """
    own = {run.path for run in (*first, *second)}
    others = [same for same in methods if own.isdisjoint(run.path for run in same)]
    return compare(drawn(first), drawn(second), [drawn(same) for same in others])
