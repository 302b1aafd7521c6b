"""A task's sample as a training sample.

The paper does not say how validation samples are worded when they are trained on. Here a sample is asked as the
student is asked in evaluation, by its prompt template, and the reply is the final answer in the form that evaluation
reads, without a rationale, as there is none to learn from.
"""

from __future__ import annotations

from delamo.models import prompts
from delamo.records import LETTERS, Sample


def training_sample(sample: Sample, prompt: str) -> Sample:
    """Word a sample as the student is asked, with the gold answer as evaluation reads it.

    Args:
        sample: of a task.
        prompt: names the set of the student's template.
    """
    gold = f"({LETTERS[sample.gold]})" if sample.options else sample.answer.rstrip(".")
    return Sample(
        id=sample.id,
        instruction=prompts.question(prompt, sample),
        answer=f"The final answer is {gold}.",
        image=sample.image,
        source=sample.source,
    )
