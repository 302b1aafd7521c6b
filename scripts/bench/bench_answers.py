"""Time error collection: batched generation against one sample at a time.

    python scripts/bench/bench_answers.py

Both sides run in one process on the embedded student and must give the same answers. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence

import delamo
from delamo.experiment.experiment import Experiment, open_experiment
from delamo.models.students.answers import ask
from delamo.records import Answer, Sample


def timed(experiment: Experiment, samples: Sequence[Sample], batch_size: int) -> tuple[list[Answer], float]:
    """Return the student's answers, and the seconds that they took."""
    student = experiment.models.student(None)
    config = dataclasses.replace(experiment.config.student, batch_size=batch_size)
    start = time.perf_counter()
    answers, _ = ask(student, samples, config, stage="answers", seed=0)
    return answers, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    experiment = open_experiment(delamo.compose("task=micro/objects", f"task.num_val_samples={args.samples}"))
    samples = experiment.task.validation
    timed(experiment, samples[:8], args.batch_size)  # warm-up
    batched, batched_s = timed(experiment, samples, args.batch_size)
    single, single_s = timed(experiment, samples, 1)
    differing = sum(a.text != b.text for a, b in zip(batched, single, strict=True))
    if differing:
        raise SystemExit(f"{differing} of {len(samples)} replies differ between the two sides")
    print(f"{len(samples)} samples: batches of {args.batch_size} {batched_s:.2f} s, one by one {single_s:.2f} s")
    print(json.dumps({"ratio": round(single_s / batched_s, 1), "samples": len(samples), "batch_size": args.batch_size}))


if __name__ == "__main__":
    main()
