"""Time mistake identification: all prefixes of a rationale in one shared pass against one pass for each prefix.

    python scripts/bench_mistakes.py

Both sides run in one process on the embedded teacher and must give the same probabilities to 1e-4. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

from delamo.data.microworld.examples import example_at
from delamo.data.readers.micro import MicroPoolConfig, read_pool
from delamo.mistakes.steps import split_steps
from delamo.models import prompts
from delamo.models.teachers.base import OptionScores, PrefixPrompt
from delamo.models.teachers.local import LocalTeacher

TOLERANCE = 1e-4


def rationales(number: int) -> list[PrefixPrompt]:
    """Worked answers of multiple-choice pool samples as the teacher is asked about them."""
    asked = []
    config = MicroPoolConfig(
        name="micro",
        size=20 * number,
        surface_overlap=0.5,
        seed=3,
        planted_leaks=0,
        planted_target=None,
        planted_seed=None,
    )
    for sample in read_pool(config):
        example = example_at(sample.image or "")
        if example.gold is not None and len(asked) < number:
            words = {"question": sample.instruction, "options": example.options, "gold": example.gold, "prior": 0.6}
            asked.append(prompts.mistake_step("micro", steps=split_steps(sample.answer), **words))
    return asked


def timed(teacher: LocalTeacher, asked: list[PrefixPrompt], *, shared: bool) -> tuple[list[OptionScores], float]:
    teacher.shared = shared
    start = time.perf_counter()
    results = teacher.option_probabilities(asked)
    return [row for row in results if isinstance(row, OptionScores)], time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rationales", type=int, default=100)
    args = parser.parse_args()

    teacher, asked = LocalTeacher.load("package:micro_teacher"), rationales(args.rationales)
    timed(teacher, asked[:4], shared=True)
    timed(teacher, asked[:4], shared=False)
    one, shared_s = timed(teacher, asked, shared=True)
    other, plain_s = timed(teacher, asked, shared=False)
    pairs = zip(one, other, strict=True)
    worst = max(
        abs(a - b)
        for x, y in pairs
        for p, q in zip(x.probabilities, y.probabilities, strict=True)
        for a, b in zip(p, q, strict=True)
    )
    if len(one) != len(asked) or worst > TOLERANCE:
        raise SystemExit(f"the two sides differ by {worst:.2e}")
    prefixes = sum(len(prompt.steps) + 1 for prompt in asked)
    print(f"{len(asked)} rationales, {prefixes} prefixes: shared {shared_s:.2f} s, one by one {plain_s:.2f} s")
    print(json.dumps({"ratio": round(plain_s / shared_s, 1), "largest_difference": worst, "prefixes": prefixes}))


if __name__ == "__main__":
    main()
