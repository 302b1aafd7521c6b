"""Time mistake identification: all prefixes of a rationale in one shared pass against one pass for each prefix.

    python scripts/bench/bench_mistakes.py

Both sides run in one process on the embedded teacher and must give the same probabilities to 1e-4.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import delamo
from delamo.data.microworld.examples import example_at
from delamo.experiment.experiment import Experiment, open_experiment
from delamo.mistakes.steps import split_steps
from delamo.models import prompts
from delamo.models.teachers.base import OptionScores, PrefixPrompt
from delamo.models.teachers.local import LocalTeacher

TOLERANCE = 1e-4


def make_prompts(experiment: Experiment, number: int) -> list[PrefixPrompt]:
    """Return the prompts by which the teacher is asked about worked answers of multiple-choice pool samples."""
    requests = []
    for sample in experiment.pool:
        example = example_at(sample.image or "")
        if example.gold is not None and len(requests) < number:
            fields = {"question": sample.instruction, "options": example.options, "gold": example.gold, "prior": 0.6}
            requests.append(prompts.mistake_step("micro", steps=split_steps(sample.answer), **fields))
    return requests


def timed(teacher: LocalTeacher, requests: list[PrefixPrompt], *, shared: bool) -> tuple[list[OptionScores], float]:
    """Return the option probabilities, and the seconds that they took."""
    teacher.shared = shared
    start = time.perf_counter()
    results = teacher.option_probabilities(requests)
    return [row for row in results if isinstance(row, OptionScores)], time.perf_counter() - start


def largest_difference(left: list[OptionScores], right: list[OptionScores]) -> float:
    return max(
        abs(a - b)
        for x, y in zip(left, right, strict=True)
        for p, q in zip(x.probabilities, y.probabilities, strict=True)
        for a, b in zip(p, q, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rationales", type=int, default=100)
    args = parser.parse_args()

    experiment = open_experiment(delamo.compose("selector=none", "pool.seed=3", f"pool.size={20 * args.rationales}"))
    teacher, requests = experiment.models.teacher, make_prompts(experiment, args.rationales)
    for shared in (True, False):
        timed(teacher, requests[:4], shared=shared)  # warm-up
    together, shared_s = timed(teacher, requests, shared=True)
    apart, plain_s = timed(teacher, requests, shared=False)
    worst = largest_difference(together, apart)
    if len(together) != len(requests) or worst > TOLERANCE:
        raise SystemExit(f"the two sides differ by {worst:.2e}")
    prefixes = sum(len(prompt.steps) + 1 for prompt in requests)
    print(f"{len(requests)} rationales, {prefixes} prefixes: shared {shared_s:.2f} s, one by one {plain_s:.2f} s")
    print(json.dumps({"ratio": round(plain_s / shared_s, 1), "largest_difference": worst, "prefixes": prefixes}))


if __name__ == "__main__":
    main()
