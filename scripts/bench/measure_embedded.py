"""Measure the embedded models: the student by skill, the teacher by its error rates. Prints Markdown.

python scripts/bench/measure_embedded.py --samples 200
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import delamo
from delamo.data.microworld import truth
from delamo.data.microworld.catalogue import TARGETS
from delamo.data.microworld.examples import example_at
from delamo.experiment.experiment import Experiment, open_experiment
from delamo.experiment.models import Models
from delamo.metrics.planted import missing_skills
from delamo.models import prompts
from delamo.models.hf.loading import resolve
from delamo.models.students.answers import ask
from delamo.models.teachers.base import PrefixPrompt, Teacher
from delamo.records import LETTERS, Sample
from delamo.stages.skills import annotate_pool


def open_target(target: str, num_val: int, num_test: int, models: Models | None = None) -> Experiment:
    """Open one target of the microworld, with as many pool samples as test samples."""
    sizes = [f"task.num_val_samples={num_val}", f"task.num_test_samples={num_test}", f"pool.size={num_test}"]
    config = delamo.compose(f"task=micro/{target}", "task.seed=1", "pool.seed=1", "selector=none", *sizes)
    return open_experiment(config, models)


def student_table(models: Models, num_samples: int) -> list[str]:
    """Return accuracy by the first missing skill that a question needs, or by the first skill where none is missing."""
    config = dataclasses.replace(models.config.student, batch_size=128)
    missing = missing_skills(Path(resolve(config.path))) or frozenset()
    right: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for target in TARGETS:
        samples = open_target(target, 1, num_samples, models).task.test
        answers, _ = ask(models.student(None), samples, config, stage="evaluation", seed=0)
        for sample, answer in zip(samples, answers, strict=True):
            needed = truth.skills_of(sample.image or "")
            skill = next((name for name in needed if name in missing), needed[0])
            right[skill].append(bool(answer.correct))
            chance[skill].append(1 / len(sample.options) if sample.options else 0.0)
    rows = [
        f"| {skill} | {'missing' if skill in missing else 'known'} | {len(right[skill])} | {percent(right[skill])} "
        f"| {percent(chance[skill])} |"
        for skill in sorted(right, key=lambda name: (name in missing, name))
    ]
    return ["| skill | student | n | accuracy % | chance % |", "| --- | --- | ---: | ---: | ---: |", *rows]


def teacher_table(models: Models, num_samples: int) -> list[str]:
    """Return how often the annotation of a pool sample is exact, and a false conclusion is followed."""
    samples = list(open_target("objects", 1, num_samples).pool)
    max_new_tokens = models.config.teacher.pool_skills_max_new_tokens
    rows, quarantined = annotate_pool(samples, models.teacher, max_new_tokens=max_new_tokens)
    locators = {sample.id: sample.image or "" for sample in samples}
    exact = [{truth.planted_skill(s) for s in row.skills} == set(truth.skills_of(locators[row.id])) for row in rows]
    exact += [False] * len(quarantined)
    followed = follows_conclusions(models.teacher, open_target("objects", num_samples, 1).task.validation)
    return [
        "| teacher | n | % |",
        "| --- | ---: | ---: |",
        f"| pool samples with exactly the planted skills | {len(samples)} | {percent(exact)} |",
        f"| false conclusions that turn it from a 60 % prior | {len(followed)} | {percent(followed)} |",
    ]


def follows_conclusions(teacher: Teacher, samples: Sequence[Sample]) -> list[bool]:
    """Return whether a wrong option leads after a true description of the image and `So the answer is WRONG.`."""
    wrong = [(sample.gold + 1) % len(sample.options) for sample in samples if sample.gold is not None]
    requests = [wrong_conclusion(teacher, sample, index) for sample, index in zip(samples, wrong, strict=True)]
    scores = [row.probabilities[-1] for row in teacher.option_probabilities(requests)]
    return [max(row) == row[index] for row, index in zip(scores, wrong, strict=True)]


def wrong_conclusion(teacher: Teacher, sample: Sample, wrong: int) -> PrefixPrompt:
    """Make the prompt for a rationale that describes the image rightly and concludes a wrong option."""
    text = sample.options[wrong]
    sentences = [
        *example_at(sample.image or "").scene.scan(),
        f"So the answer is {text}.",
        f"({LETTERS[wrong]}) {text} fits.",
    ]
    return prompts.mistake_step(
        teacher.prompts,
        question=sample.instruction,
        options=sample.options,
        gold=sample.gold or 0,
        prior=0.6,
        steps=tuple(f" {sentence}" for sentence in sentences),
    )


def percent(values: Sequence[float]) -> str:
    return f"{100 * sum(values) / len(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200, help="test samples of each target, and pool samples")
    parser.add_argument("--student", default="package:micro_student", help="shipped weights, or a folder")
    parser.add_argument("--teacher", default="package:micro_teacher", help="shipped weights, or a folder")
    args = parser.parse_args()
    config = delamo.compose("student=micro", "teacher=micro")
    config.student.path, config.teacher.path = args.student, args.teacher
    models = Models(config)
    print("\n".join([*student_table(models, args.samples), "", *teacher_table(models, args.samples)]))


if __name__ == "__main__":
    main()
