"""Tuning on the target's own validation samples (paper, Table 1, "Validation Data"): what 1,000 samples of the target are worth.

The paper does not say how they are worded. Here a sample is asked as the student is asked in evaluation, by its prompt template, and the
reply is the final answer in the form that evaluation reads, without a rationale, as there is none to learn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from delamo.records import LETTERS, Quarantined, Sample, to_json
from delamo.selectors.full_data import select

if TYPE_CHECKING:
    from delamo.data import Pool

__all__ = ["ValidationPool", "select", "training_sample", "validation_pool"]


class ValidationPool:
    """Validation samples as a pool to be tuned on."""

    quarantined: Sequence[Quarantined] = ()

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.name = "validation"
        self._by_id = {sample.id: sample for sample in sorted(samples, key=lambda sample: sample.id)}
        self.digest = hashlib.sha256("\n".join(map(to_json, self._by_id.values())).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._by_id.values())

    def get(self, id: str) -> Sample:
        return self._by_id[id]

    def ids(self) -> list[str]:
        return list(self._by_id)


def validation_pool(validation: Sequence[Sample], prompt: str) -> Pool:
    """The task's validation samples as `select` takes all of them; `prompt` names the student's template."""
    return ValidationPool([training_sample(sample, prompt) for sample in validation])


def training_sample(sample: Sample, prompt: str) -> Sample:
    """A task's sample as a training sample: the student's own question, and the gold answer as evaluation reads it."""
    from delamo.models.hf.identity import template

    question = template(prompt).render(question=sample.instruction, options=sample.options, letters=LETTERS)
    gold = f"({LETTERS[sample.gold]})" if sample.options else sample.answer.rstrip(".")
    answer = f"The final answer is {gold}."
    return Sample(id=sample.id, instruction=question, answer=answer, image=sample.image, source=sample.source)
