"""What a teacher would be asked, and what that would cost by the prices of litellm's own table."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.mistakes import FINDERS
from delamo.mistakes.prompt_per_step import PromptPerStepConfig
from delamo.mistakes.pseudo_rationale import PseudoRationaleConfig
from delamo.models import prompts
from delamo.models.api.budget import CHARACTERS_PER_TOKEN, Prices, prices_of
from delamo.models.teachers.config import LiteLLMTeacherConfig, Readout, TeacherConfig, TeacherMode
from delamo.plan.assumptions import Assumptions
from delamo.plan.counting import StageWork, TeacherUsage
from delamo.plan.measured import Recorded
from delamo.records import Answer, Sample
from delamo.stages.skills import Query, SkillSource

DRAWN = 500  # samples of a pool that is here, for the length of its prompts


def asked(work: StageWork, assume: Assumptions, recorded: Recorded) -> TeacherUsage | None:
    """What one stage asks its teacher, by what others asked before or else by assumption.

    None where the stage asks none.
    """
    config = work.experiment.config
    if work.name == "mistakes" and FINDERS[type(config.mistakes)].templates:
        number, one = num_errors(work, assume), _finding
    elif work.name == "skills" and config.skills.source is SkillSource.all_samples:
        number, one = work.experiment.num_validation, _annotating_task
    elif work.name == "skills" and config.skills.query is Query.skill:
        number, one = num_errors(work, assume), _naming
    elif work.name == "pool_skills":
        number, one = len(work.experiment.pool), _annotating_pool
    else:
        return None
    measured = recorded.asked(work, num_asked=number)
    return one(work, assume).times(number) if measured is None else measured


def prices(teacher: TeacherConfig) -> tuple[Prices | None, bool]:
    """(US dollars for a token or None where the price is not known, whether the pool goes by batch).

    0 for a local model.
    """
    if not isinstance(teacher, LiteLLMTeacherConfig):
        return Prices(0.0, 0.0), False
    found = prices_of(teacher)
    return found, teacher.mode is TeacherMode.batch


def num_errors(work: StageWork, assume: Assumptions) -> float:
    """Wrong answers to the validation samples.

    As they are, where the student has answered, or else by the assumed rate.
    """
    inputs = {stage.name: stage.stored for stage in work.stage.walk()}
    if inputs["mistakes"].done:
        return inputs["mistakes"].manifest()["accounting"]["ok"]
    if inputs["answers"].done:
        return sum(not row.correct for row in inputs["answers"].rows(Answer))
    name = work.experiment.config.task.name
    return assume.error_rates.get(name, assume.error_rate) * work.experiment.num_validation


def _finding(work: StageWork, assume: Assumptions) -> TeacherUsage:
    """Finding one mistake step: every prefix of the rationale is a call."""
    config, teacher = work.experiment.config.mistakes, work.experiment.config.teacher
    steps = assume.steps.get(work.experiment.config.task.name, assume.num_steps)
    words = {"question": "q" * assume.question_chars, "options": _options(assume), "steps": ()}
    before = TeacherUsage()
    if isinstance(config, PromptPerStepConfig):
        prompt = prompts.check_step(teacher.prompts.value, **words)
    elif isinstance(config, PseudoRationaleConfig):
        reference = "r" * assume.reference_tokens * CHARACTERS_PER_TOKEN
        text = prompts.reference(
            teacher.prompts.value, question=words["question"], options=words["options"], answer=words["options"][0]
        )
        before = TeacherUsage(1, _tokens(text), min(assume.reference_tokens, config.reference_max_new_tokens))
        prompt = prompts.compare_step(teacher.prompts.value, **words, reference=reference)
    else:
        prompt = prompts.mistake_step(teacher.prompts.value, **words, gold=0, prior=0.6)
    bare = len(prompt.head + prompt.tail)
    chars = (steps + 1) * bare + assume.step_chars * steps * (steps + 1) / 2
    calls, reply_tokens = _draws(teacher)
    return before + TeacherUsage(steps + 1, chars / CHARACTERS_PER_TOKEN, (steps + 1) * reply_tokens).times(calls)


def _draws(teacher: TeacherConfig) -> tuple[int, int]:
    """(calls for each prefix, tokens of a reply)."""
    if not isinstance(teacher, LiteLLMTeacherConfig):
        return 1, 1
    return (teacher.num_draws if teacher.readout is Readout.samples else 1), teacher.answer_max_tokens


def _naming(work: StageWork, assume: Assumptions) -> TeacherUsage:
    """Naming one missing skill."""
    teacher, options = work.experiment.config.teacher, _options(assume)
    steps = round(assume.steps.get(work.experiment.config.task.name, assume.num_steps))
    text = prompts.skill(
        teacher.prompts.value,
        question="q" * assume.question_chars,
        options=options,
        answer=options[0],
        steps=["s" * assume.step_chars] * max(1, steps),
        step=0,
    )
    return TeacherUsage(1, _tokens(text) + _picture(teacher), min(assume.skill_tokens, teacher.skill_max_new_tokens))


def _annotating_task(work: StageWork, assume: Assumptions) -> TeacherUsage:
    return _annotating(work, work.experiment.task.validation, assume)


def _annotating_pool(work: StageWork, assume: Assumptions) -> TeacherUsage:
    pool = work.experiment.pool
    ids = pool.ids()
    return _annotating(work, [pool.get(id) for id in ids[:: max(1, len(ids) // DRAWN)]], assume)


def _annotating(work: StageWork, samples: Sequence[Sample], assume: Assumptions) -> TeacherUsage:
    """Listing the skills of one sample; the length of the prompt is the mean over `samples`, where they are here."""
    teacher = work.experiment.config.teacher
    pairs = [(sample.instruction, sample.answer) for sample in samples]
    pairs = pairs or [("q" * assume.pool_question_chars, "a" * assume.pool_answer_chars)]
    sizes = [
        _tokens(prompts.pool_skills(teacher.prompts.value, instruction=text, answer=answer)) for text, answer in pairs
    ]
    tokens = sum(sizes) / len(sizes) + _picture(teacher)
    return TeacherUsage(1, tokens, min(assume.pool_skills_tokens, teacher.pool_skills_max_new_tokens))


def _picture(teacher: TeacherConfig) -> float:
    """Tokens of a picture, where the teacher is shown it; every sample is taken to have one."""
    shown = teacher.sees_images and isinstance(teacher, LiteLLMTeacherConfig)
    return teacher.tokens_per_image if shown else 0


def _options(assume: Assumptions) -> list[str]:
    return ["o" * assume.option_chars] * assume.num_options


def _tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN
