"""Measure the embedded models: the student by skill, the teacher by its error rates. Prints Markdown.

python scripts/measure_embedded.py --samples 200
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from delamo.data.microworld import truth
from delamo.data.microworld.catalogue import TARGETS
from delamo.data.microworld.examples import example_at
from delamo.data.readers.micro import MicroPoolConfig, MicroTaskConfig, read_pool, read_task
from delamo.metrics.planted import missing_skills
from delamo.models import prompts
from delamo.models.students.local import Student, resolve
from delamo.models.teachers.local import LocalTeacher
from delamo.records import LETTERS
from delamo.stages.answers import collect_answers
from delamo.stages.skills import annotate_pool


def student_table(path: str, num_samples: int) -> list[str]:
    """Accuracy by the first missing skill that a question needs, or by the first skill where none is missing."""
    student, missing = Student.load(path), missing_skills(Path(resolve(path))) or frozenset()
    right: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for target in TARGETS:
        samples = read_task(
            MicroTaskConfig(name="micro", target=target, num_val_samples=1, num_test_samples=num_samples, seed=1)
        ).test
        answers, _ = collect_answers(student, samples, max_new_tokens=160, batch_size=128)
        for sample, answer in zip(samples, answers, strict=True):
            needed = truth.skills_of(sample.image or "")
            skill = next((name for name in needed if name in missing), needed[0])
            right[skill].append(bool(answer.correct))
            chance[skill].append(1 / len(sample.options) if sample.options else 0.0)
    rows = [
        f"| {skill} | {'missing' if skill in missing else 'known'} | {len(right[skill])} | {percent(right[skill])} | {percent(chance[skill])} |"
        for skill in sorted(right, key=lambda name: (name in missing, name))
    ]
    return ["| skill | student | n | accuracy % | chance % |", "| --- | --- | ---: | ---: | ---: |", *rows]


def teacher_table(path: str, num_samples: int) -> list[str]:
    """Exact annotations of pool samples, and how often the option that a finished true rationale speaks for comes first."""
    teacher = LocalTeacher.load(path)
    samples = list(
        read_pool(
            MicroPoolConfig(
                name="micro",
                size=num_samples,
                surface_overlap=0.5,
                seed=1,
                planted_leaks=0,
                planted_target=None,
                planted_seed=None,
            )
        )
    )
    rows, bad = annotate_pool(samples, teacher, max_new_tokens=32)
    locators = {sample.id: sample.image or "" for sample in samples}
    exact = [{truth.planted_skill(s) for s in row.skills} == set(truth.skills_of(locators[row.id])) for row in rows]
    followed = _followed(teacher, num_samples)
    return [
        "| teacher | n | % |",
        "| --- | ---: | ---: |",
        f"| pool samples with exactly the planted skills | {len(samples)} | {percent([*exact, *[False] * len(bad)])} |",
        f"| false conclusions that turn it from a 60 % prior | {len(followed)} | {percent(followed)} |",
    ]


def _followed(teacher: LocalTeacher, num_samples: int) -> list[bool]:
    """After a true scan and `So the answer is WRONG.` the wrong option should lead."""
    samples = read_task(
        MicroTaskConfig(name="micro", target="objects", num_val_samples=num_samples, num_test_samples=1, seed=1)
    ).validation
    wrong = [(sample.gold + 1) % len(sample.options) for sample in samples if sample.gold is not None]
    asked = [
        prompts.mistake_step(
            teacher.prompts,
            question=sample.instruction,
            options=sample.options,
            gold=sample.gold or 0,
            prior=0.6,
            steps=tuple(
                f" {sentence}"
                for sentence in (
                    *example_at(sample.image or "").scene.scan(),
                    f"So the answer is {sample.options[other]}.",
                    f"({LETTERS[other]}) {sample.options[other]} fits.",
                )
            ),
        )
        for sample, other in zip(samples, wrong, strict=True)
    ]
    scores = teacher.option_probabilities(asked)
    return [max(row := s.probabilities[-1]) == row[other] for s, other in zip(scores, wrong, strict=True)]


def percent(values: Sequence[float]) -> str:
    return f"{100 * sum(values) / len(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200, help="test samples of each target, and pool samples")
    parser.add_argument("--student", default="package:micro_student", help="shipped weights, or a folder")
    parser.add_argument("--teacher", default="package:micro_teacher", help="shipped weights, or a folder")
    args = parser.parse_args()
    tables = [*student_table(args.student, args.samples), "", *teacher_table(args.teacher, args.samples)]
    print("\n".join(tables))


if __name__ == "__main__":
    main()
