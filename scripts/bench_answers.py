"""Time error collection: batched generation against one sample at a time.

    python scripts/bench_answers.py

Both sides run in one process on the embedded student and must give the same answers. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

from delamo.data.readers.micro import MicroTaskConfig, read_task
from delamo.models.students.local import Student
from delamo.records import Answer, Sample
from delamo.stages.answers import collect_answers


def timed(student: Student, samples: list[Sample], batch_size: int) -> tuple[list[Answer], float]:
    start = time.perf_counter()
    answers, _ = collect_answers(student, samples, max_new_tokens=160, batch_size=batch_size)
    return answers, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    student = Student.load("package:micro_student")
    samples = list(
        read_task(
            MicroTaskConfig(name="micro", target="objects", num_val_samples=args.samples, num_test_samples=1, seed=0)
        ).validation
    )
    timed(student, samples[:8], args.batch_size)
    batched, batched_s = timed(student, samples, args.batch_size)
    single, single_s = timed(student, samples, 1)
    differing = sum(one.text != other.text for one, other in zip(batched, single, strict=True))
    if differing:
        raise SystemExit(f"{differing} of {len(samples)} replies differ between the two sides")
    print(f"{len(samples)} samples: batches of {args.batch_size} {batched_s:.2f} s, one by one {single_s:.2f} s")
    print(json.dumps({"ratio": round(single_s / batched_s, 1), "samples": len(samples), "batch_size": args.batch_size}))


if __name__ == "__main__":
    main()
