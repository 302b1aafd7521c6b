"""Measures: what a column of the paper's tables shows of the runs of one cell, in the column's own unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.metrics import statistics
from delamo.metrics.statistics import Interval
from delamo.reports import methods
from delamo.reports.comparison import compared
from delamo.runs import lineage
from delamo.runs.read import Run

NO_TRUTH = "no planted truth to compare with"


class NotRecordedError(ValueError):
    """The runs are there, and do not say this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number of ours, in the unit of its column."""

    mean: float
    """Over the runs."""
    sd: float | None = None
    """Between the runs; None for one."""
    interval: Interval | None = None
    """95 %; None where the number is no share of items, or `not_judged`."""
    not_judged: str | None = None
    """Why a difference has no interval, as in `1 run`; None where it has one, and for what is no difference."""
    n: int | None = None
    """Items."""
    num_runs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInput:
    """What a measure may look at."""

    runs: Sequence[Run]
    """Of the cell, one for each seed."""
    untuned: Sequence[Run]
    """Of the pretrained student on the same task, with the same settings."""
    methods: Sequence[Sequence[Run]] = ()
    """The runs of each method on the target at this budget, those of the cell among them."""
    form: str | None = None
    """Table 10: the answer format of the row."""


def accuracy(source: MeasureInput) -> Value:
    """Measure the percent of test items answered correctly, unparsed ones counting as wrong, with Wilson's interval."""
    shares = statistics.over_seeds([run.metrics["test"]["accuracy"] for run in source.runs])
    return _share(shares.mean, min(run.metrics["test"]["n"] for run in source.runs), shares.sd, len(shares.runs))


def gain(source: MeasureInput) -> Value:
    """Measure points over the pretrained student (Table 12), with the interval by which methods are compared."""
    if not source.untuned:
        raise NotRecordedError("no run of the pretrained student with the same settings")
    found = compared(source.runs, source.untuned, source.methods)
    inference = found.inference
    return Value(
        mean=100 * found.difference,
        interval=Interval(100 * inference.interval.low, 100 * inference.interval.high) if inference else None,
        not_judged=found.not_judged,
        n=found.n,
        num_runs=len(source.runs),
    )


def step_accuracy(source: MeasureInput) -> Value:
    """Measure the percent of errors whose mistake step is the gold one (Table 7)."""
    return _planted_step(source, "accuracy")


def step_recall_at_3(source: MeasureInput) -> Value:
    """Measure the percent of errors whose gold step is the predicted one or one of the three before it (Table 7)."""
    return _planted_step(source, "recall_at_3")


def usd(source: MeasureInput) -> Value:
    """Measure the price of finding mistakes and naming skills (Table 6); 0 without a teacher, and for a local one."""
    prices = [_usd(run) for run in source.runs]
    return Value(mean=statistics.mean(prices), num_runs=len(prices))


def steps(source: MeasureInput) -> Value:
    """Measure the mean number of steps of the rationales in which a mistake was looked for (Table 12)."""
    lengths = [_steps(run) for run in source.runs]
    return Value(mean=statistics.mean(lengths), num_runs=len(lengths))


def read(source: MeasureInput) -> Value:
    """Measure the percent of test replies in which the row's answer format is found (Table 10)."""
    scores = [score for run in source.runs for score in run.scores]
    if source.form == "any":
        hits = [float(score.parsed) for score in scores]
    else:
        search = _form(source.form or "")
        hits = [float(search(score.text) is not None) for score in scores]
    return _share(statistics.mean(hits), len(scores), None, len(source.runs))


def seconds(*stages: str) -> Callable[[MeasureInput], Value]:
    """Return a measure: seconds of these stages together, of all iterations, as measured when they were computed."""

    def measure(source: MeasureInput) -> Value:
        totals = []
        for run in source.runs:
            own = [taken for name, taken in run.metrics["seconds"].items() if name.partition("@")[0] in stages]
            if not own:
                raise NotRecordedError(f"the run has no stage {' or '.join(stages)}")
            totals.append(sum(own))
        return Value(mean=statistics.mean(totals), num_runs=len(totals))

    return measure


MEASURES: dict[str, Callable[[MeasureInput], Value]] = {
    "accuracy": accuracy,
    "gain": gain,
    "step_accuracy": step_accuracy,
    "step_recall_at_3": step_recall_at_3,
    "seconds_mistakes_and_skills": seconds("mistakes", "skills"),
    "seconds_retrieval": seconds("index", "selection"),
    "seconds_tuning": seconds("tuning"),
    "usd": usd,
    "steps": steps,
    "read": read,
}


def _share(share: float, n: int, sd: float | None, num_runs: int) -> Value:
    """Turn a fraction of `n` items into percent, with Wilson's interval."""
    interval = statistics.wilson(share, n)
    return Value(
        mean=100 * share,
        sd=None if sd is None else 100 * sd,
        interval=Interval(100 * interval.low, 100 * interval.high),
        n=n,
        num_runs=num_runs,
    )


def _planted_step(source: MeasureInput, key: str) -> Value:
    steps = [(run.metrics["planted"] or {}).get("mistake_step") for run in source.runs]
    if None in steps:
        raise NotRecordedError(NO_TRUTH)
    shares = statistics.over_seeds([step[key] for step in steps])
    return _share(shares.mean, min(step["n"] for step in steps), shares.sd, len(steps))


def _usd(run: Run) -> float:
    if "teacher." in methods.ignored_keys(run.cell["selector"]):
        return 0.0
    costs: dict[str, Any] = run.metrics.get("cost") or {}
    own = [cost["usd"] for name, cost in costs.items() if name.partition("@")[0] in ("mistakes", "skills")]
    if not own and "teacher.model" not in run.config:  # no service, no bill
        return 0.0
    if not own:
        raise NotRecordedError("the run recorded no cost of its teacher")
    if None in own:
        raise NotRecordedError("the teacher's price is not known")
    return sum(own)


def _steps(run: Run) -> float:
    stated = (run.metrics["validation"] or {}).get("steps")
    if stated is not None:
        return stated
    lengths = [len(mistake.steps) for mistake in lineage.mistakes(run).values() if mistake.steps]
    if not lengths:
        raise NotRecordedError("the run looked for no mistake step")
    return statistics.mean(lengths)


def _form(form: str) -> Callable[[str], Any]:
    """Return the search for a format: the paper's expression, or a rebuilt one where it is garbled in print."""
    from delamo.models.parsing.choices import BARE, LETTER, NOUN, OPENERS
    from delamo.models.parsing.statements import ANSWER

    named = re.compile(rf"{ANSWER}\s+is:?{OPENERS}{NOUN}{OPENERS}{LETTER}", re.IGNORECASE)
    rebuilt = {"bare": BARE.fullmatch, "option": named.search}
    return rebuilt[form] if form in rebuilt else re.compile(form).search
