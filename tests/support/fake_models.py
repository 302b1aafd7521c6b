"""Models that compute nothing: an experiment runs with its real stages in a second, and every call is counted."""

from __future__ import annotations

import weakref
from collections import Counter
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from delamo.experiment.config import ExperimentConfig
from delamo.experiment.models import Models
from delamo.models.students.local import Reply
from delamo.models.teachers.base import OptionScores, Teacher
from delamo.models.usage import Usage
from delamo.records import LETTERS


class Calls(Counter):
    """How often each fake was asked, and the adapter that the student had when it was loaded."""

    def __init__(self):
        super().__init__()
        self.adapters: list[Path | None] = []
        self.loaded: list[weakref.ref] = []

    def alive(self) -> int:
        """Models that somebody still holds."""
        return sum(model() is not None for model in self.loaded)


class FakeStudent:
    """Untuned, it errs on every second sample; of the validation samples, every fourth reply cannot be read."""

    def __init__(self, calls: Calls, *, tuned: bool) -> None:
        self.calls, self.tuned, self.facts = calls, tuned, {}

    def replies(self, samples, **options):
        self.calls["answers" if "-val-" in samples[0].id else "evaluation"] += 1
        for index, sample in enumerate(samples):
            yield index, Reply(text=self.reply(index, sample), num_tokens=9, truncated=False)

    def reply(self, index, sample) -> str:
        right = self.tuned or index % 2 == 0
        letter = LETTERS[sample.gold if right else (sample.gold + 1) % len(sample.options)]
        unparsed = index % 4 == 3 and "-val-" in sample.id
        return "The top left is empty." + ("" if unparsed else f" The final answer is ({letter}).")


class FakeTeacher(Teacher):
    """Finds the mistake in the first step, and names one skill for every error."""

    prompts = "micro"
    sees_images = False

    def __init__(self, calls: Calls) -> None:
        self.calls, self.usage = calls, Usage()

    def option_probabilities(self, prompts):
        self.calls["mistakes"] += 1
        self.usage.calls += len(prompts)
        rows = [len(prompt.steps) + 1 for prompt in prompts]
        even = [tuple([1 / prompt.num_options] * prompt.num_options) for prompt in prompts]
        return [OptionScores((row,) * num, (0.0,) * num) for row, num in zip(even, rows, strict=True)]

    def complete(self, prompts, *, max_new_tokens, images=None):
        of_pool = "Mistake:" not in prompts[0]
        self.calls["pool_skills" if of_pool else "skills"] += 1
        if not of_pool:
            return ["count red circles"] * len(prompts)
        self.usage += Usage(calls=len(prompts), prompt_tokens=10 * len(prompts), usd=0.5 * len(prompts))
        return ["count circles" if len(prompt) % 3 else "read digits" for prompt in prompts]


class FakeModels(Models):
    """What computes for an experiment, without a weight."""

    def __init__(self, config: ExperimentConfig, calls: Calls) -> None:
        super().__init__(config)
        self.calls = calls

    def load_student(self, adapter):
        self.calls["load student"] += 1
        self.calls.adapters.append(adapter)
        return self._loaded(FakeStudent(self.calls, tuned=adapter is not None))

    def load_teacher(self):
        self.calls["load teacher"] += 1
        return self._loaded(FakeTeacher(self.calls))

    def _loaded(self, model):
        self.calls["models beside one being loaded"] += self.calls.alive()
        self.calls.loaded.append(weakref.ref(model))
        return model

    @cached_property
    def student_digest(self) -> str:
        return "student"

    @cached_property
    def teacher_digest(self) -> str:
        self.calls["teacher digest"] += 1
        return f"teacher {self.config.teacher.name}"

    def prompt_digest(self, template: str) -> str:
        return f"{self.config.teacher.prompts.value}/{template}"

    def fit(self, job, *, logger=None, callbacks=()):
        self.calls["tuning"] += 1
        self.calls["models beside tuning"] += self.calls.alive()
        self.calls["tuned samples"] = len(job.samples)
        self.calls["tuned from an adapter"] += job.start_from is not None
        job.out_dir.mkdir()
        (job.out_dir / "adapter_config.json").write_text("{}")
        done = {"steps": 1, "loss": 0.5, "trainable": {"language_model": 10}, "quarantined": [], "seconds": 0.0}
        return SimpleNamespace(**done, padding=0.0, num_processes=1, facts={})
