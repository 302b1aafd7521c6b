"""What a column of the paper's tables takes from the runs of one cell, in the column's own unit (percent, points, seconds, ...)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.metrics import statistics
from delamo.metrics.statistics import Interval
from delamo.reports import variants
from delamo.runs import lineage
from delamo.runs.read import Run

BOOTSTRAP_SEED = 0
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
    """95 %; None where the number is no share of items."""
    n: int | None = None
    """Items."""
    num_runs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a measure may look at."""

    runs: Sequence[Run]
    """Of the cell, one for each seed."""
    untuned: Sequence[Run]
    """Of the pretrained student on the same task, with the same settings."""
    form: str | None = None
    """Table 10: the answer format of the row."""


def accuracy(asked: Asked) -> Value:
    """Percent of test items answered correctly, unparsed ones counting as wrong; Wilson's interval of the mean over runs."""
    found = statistics.over_seeds([run.metrics["test"]["accuracy"] for run in asked.runs])
    return _share(found.mean, min(run.metrics["test"]["n"] for run in asked.runs), found.sd, len(found.runs))


def gain(asked: Asked) -> Value:
    """Points over the pretrained student (Table 12); the interval of a paired bootstrap over items and runs."""
    import numpy as np

    if not asked.untuned:
        raise NotRecordedError("no run of the pretrained student with the same settings")
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    both = [run.outcomes for run in asked.runs], [run.outcomes for run in asked.untuned]
    low_high = statistics.bootstrap_difference(*both, rng=rng)
    means = [statistics.mean([statistics.accuracy(run.scores) for run in runs]) for runs in (asked.runs, asked.untuned)]
    return Value(
        mean=100 * (means[0] - means[1]),
        interval=Interval(100 * low_high.low, 100 * low_high.high),
        n=len(both[0][0]),
        num_runs=len(asked.runs),
    )


def step_accuracy(asked: Asked) -> Value:
    """Percent of the errors whose mistake step is the gold one (Table 7)."""
    return _planted_step(asked, "accuracy")


def step_recall_at_3(asked: Asked) -> Value:
    """Percent of the errors whose gold step is the step found or one of the three before it (Table 7)."""
    return _planted_step(asked, "recall_at_3")


def usd(asked: Asked) -> Value:
    """What finding mistakes and naming skills was paid for (Table 6); 0 for a selector that asks no teacher and for a local one."""
    spent = [_usd(run) for run in asked.runs]
    return Value(mean=statistics.mean(spent), num_runs=len(spent))


def steps(asked: Asked) -> Value:
    """Steps of the rationales in which a mistake was looked for, on average (Table 12)."""
    found = [_steps(run) for run in asked.runs]
    return Value(mean=statistics.mean(found), num_runs=len(found))


def read(asked: Asked) -> Value:
    """Percent of the test replies in which the row's answer format is found (Table 10)."""
    scores = [score for run in asked.runs for score in run.scores]
    if asked.form == "any":
        return _share(statistics.mean([float(score.parsed) for score in scores]), len(scores), None, len(asked.runs))
    search = _form(asked.form or "")
    return _share(
        statistics.mean([float(search(score.text) is not None) for score in scores]),
        len(scores),
        None,
        len(asked.runs),
    )


def seconds(*stages: str) -> Callable[[Asked], Value]:
    """Seconds of these stages together, of all iterations, as measured when they were computed."""

    def measure(asked: Asked) -> Value:
        found = []
        for run in asked.runs:
            own = [taken for name, taken in run.metrics["seconds"].items() if name.partition("@")[0] in stages]
            if not own:
                raise NotRecordedError(f"the run has no stage {' or '.join(stages)}")
            found.append(sum(own))
        return Value(mean=statistics.mean(found), num_runs=len(found))

    return measure


MEASURES: dict[str, Callable[[Asked], Value]] = {
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
    """A fraction of `n` items as percent, with Wilson's interval."""
    interval = statistics.wilson(share, n)
    return Value(
        mean=100 * share,
        sd=None if sd is None else 100 * sd,
        interval=Interval(100 * interval.low, 100 * interval.high),
        n=n,
        num_runs=num_runs,
    )


def _planted_step(asked: Asked, key: str) -> Value:
    found = [(run.metrics["planted"] or {}).get("mistake_step") for run in asked.runs]
    if None in found:
        raise NotRecordedError(NO_TRUTH)
    shares = statistics.over_seeds([one[key] for one in found])
    return _share(shares.mean, min(one["n"] for one in found), shares.sd, len(found))


def _usd(run: Run) -> float:
    if "teacher." in variants.UNUSED.get(run.cell["selector"], ()):
        return 0.0
    spent: dict[str, Any] = run.metrics.get("cost") or {}
    own = [one["usd"] for name, one in spent.items() if name.partition("@")[0] in ("mistakes", "skills")]
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
    found = [len(mistake.steps) for mistake in lineage.mistakes(run).values() if mistake.steps]
    if not found:
        raise NotRecordedError("the run looked for no mistake step")
    return statistics.mean(found)


def _form(form: str) -> Callable[[str], Any]:
    """How a format is looked for: the paper's expression, or the pattern rebuilt for one that is garbled in print."""
    from delamo.models import parsing

    rebuilt = {"bare": parsing.BARE.fullmatch, "option": parsing.PHRASES[3].search}
    return rebuilt[form] if form in rebuilt else re.compile(form).search
