"""Samples to the student, replies read by rule: what error collection and evaluation have in common."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from delamo.models.parsing import read_answer, same_answer
from delamo.models.students.local import Reply, Student
from delamo.records import LETTERS, Answer, Quarantined, Sample


def ask(
    student: Student,
    samples: Sequence[Sample],
    *,
    stage: str,
    max_new_tokens: int,
    batch_size: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[list[Answer], list[Quarantined]]:
    """The student's answers in the order of the samples; what it cannot be asked is quarantined with the reason."""
    answers: dict[int, Answer] = {}
    bad: dict[int, Quarantined] = {}
    options = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "temperature": temperature, "seed": seed}
    with tqdm(total=len(samples), desc=f"{stage}: ask the student", delay=5, unit="sample") as bar:
        for index, reply in student.replies(samples, **options):
            sample = samples[index]
            if isinstance(reply, Reply):
                answers[index] = read_reply(sample, reply)
            else:
                bad[index] = Quarantined(id=sample.id, stage=stage, reason=reply.reason, detail=reply.detail)
            bar.update()
    return [answers[i] for i in sorted(answers)], [bad[i] for i in sorted(bad)]


def read_reply(sample: Sample, reply: Reply) -> Answer:
    """Prediction and rationale of one reply; unparsed is not wrong."""
    reading = read_answer(reply.text, sample.options)
    return Answer(
        id=sample.id,
        text=reply.text,
        rationale=reading.rationale,
        prediction=reading.prediction,
        correct=_correct(sample, reading.prediction),
        num_tokens=reply.num_tokens,
        truncated=reply.truncated,
    )


def _correct(sample: Sample, prediction: str | None) -> bool | None:
    if prediction is None:
        return None
    if sample.gold is not None:
        return prediction == LETTERS[sample.gold]
    return same_answer(prediction, sample.answer)
