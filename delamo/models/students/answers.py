"""Samples to the student, replies read by rule: shared by error collection and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from delamo.models.parsing import read_answer, same_answer
from delamo.records import LETTERS, Answer, Quarantined, Sample

if TYPE_CHECKING:
    from delamo.models.students.config import HuggingFaceStudentConfig
    from delamo.models.students.local import Reply, Student
    from delamo.models.students.served import ServedStudent


def ask(
    student: Student | ServedStudent,
    samples: Sequence[Sample],
    config: HuggingFaceStudentConfig,
    *,
    stage: str,
    seed: int,
) -> tuple[list[Answer], list[Quarantined]]:
    """Ask the student a list of samples.

    Args:
        student: tuned or not.
        samples: with questions and, perhaps, options and images.
        config: says how it decodes, and how many samples it takes at a time.
        stage: names the work in the progress bar and in quarantined rows.
        seed: of sampled replies.

    Returns:
        (answers in the order of the samples, samples that it cannot be asked, with the reason).
    """
    answers: dict[int, Answer] = {}
    quarantined: dict[int, Quarantined] = {}
    replies = student.replies(
        samples,
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        temperature=config.temperature,
        seed=seed,
    )
    with tqdm(total=len(samples), desc=f"{stage}: ask the student", delay=5, unit="sample") as bar:
        for index, reply in replies:
            sample = samples[index]
            if isinstance(reply, Exception):
                quarantined[index] = Quarantined(id=sample.id, stage=stage, reason=reply.reason, detail=reply.detail)
            else:
                answers[index] = read_reply(sample, reply)
            bar.update()
    return [answers[i] for i in sorted(answers)], [quarantined[i] for i in sorted(quarantined)]


def read_reply(sample: Sample, reply: Reply) -> Answer:
    """Read prediction and rationale from a reply; unparsed is not wrong."""
    reading = read_answer(reply.text, sample.options)
    prediction = reading.prediction
    if reply.truncated and not sample.options and reading.announced is False:
        prediction = None  # cut off before it came to its answer
    return Answer(
        id=sample.id,
        text=reply.text,
        rationale=reading.rationale,
        prediction=prediction,
        correct=is_correct(sample, prediction),
        num_tokens=reply.num_tokens,
        truncated=reply.truncated,
    )


def is_correct(sample: Sample, prediction: str | None) -> bool | None:
    """Return whether a prediction is the gold answer; None where there is no prediction.

    The gold answer of an open question is read as a reply is: "The answer is: red" asks for "red".
    """
    if prediction is None:
        return None
    if sample.gold is not None:
        return prediction == LETTERS[sample.gold]
    gold = read_answer(sample.answer).prediction or sample.answer
    return same_answer(prediction, gold) or same_answer(prediction, sample.answer)
