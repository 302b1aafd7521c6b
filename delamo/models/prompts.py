"""Prompts of the student and of the teacher: Jinja2 files, whose digests are part of the identity of results.

The student's stand in `templates/student/SET.j2`, the teacher's in `templates/SET/NAME.j2`. The sets: `micro` for the
embedded models, which were trained on exactly these words, and `paper` after the paper's appendix B (Figure 4 for
`mistake_step`; Figures 5 and 6 are missing from the published text, so `skill` and `pool_skills` are written here).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from delamo.models.teachers.base import PrefixPrompt
from delamo.records import LETTERS, Sample

TEMPLATES = Path(__file__).parent / "templates"
STUDENT = "student"
BARE = ""
"""In the place of a set: the text as it is, by no template."""
QUESTION = "micro"
"""The student's template that is the question with its options and nothing else."""
_STEPS = "\x00steps\x00"
_DEMONSTRATION = re.compile(r"^(?:Missing skill|Skills):[ \t]*(\S.*)$", re.MULTILINE)


class PromptSet(Enum):
    """A set of templates below `delamo/models/templates`."""

    micro = "micro"
    paper = "paper"


def question(prompt_set: str, sample: Sample) -> str:
    """Render the user turn in which the student is asked a sample's question, with its options."""
    if prompt_set == BARE:
        return sample.instruction
    template = _template(STUDENT, prompt_set)
    return template.render(question=sample.instruction, options=sample.options, letters=LETTERS)


def question_source(prompt_set: str) -> str:
    """Return the text of the student's template.

    Raises:
        FileNotFoundError: no such template.
    """
    return _source(STUDENT, prompt_set)


def demonstrated_skills(prompt_set: str, name: str) -> tuple[str, ...]:
    """Return the skills that a template shows as examples; a teacher that repeats them has not looked."""
    lines = _DEMONSTRATION.findall(_source(prompt_set, name))
    return tuple(skill for line in lines for part in line.split(";") if (skill := part.strip()))


def digest(prompt_set: str, name: str) -> str:
    """Return the SHA-256 of the text of one of the teacher's templates."""
    return hashlib.sha256(_source(prompt_set, name).encode()).hexdigest()


def mistake_step(
    prompt_set: str, *, question: str, options: Sequence[str], gold: int, prior: float, steps: Sequence[str]
) -> PrefixPrompt:
    """Make the prompt that asks for the answer after each prefix of a rationale (paper, Figure 4).

    Args:
        prompt_set: names the set of templates.
        question: without its image.
        options: texts.
        gold: index of the gold option.
        prior: probability that the prompt gives the gold option beforehand.
        steps: of the rationale.
    """
    text = _render(
        prompt_set,
        "mistake_step",
        question=question,
        options=options,
        letters=LETTERS,
        gold=gold,
        prior_percent=round(100 * prior),
        steps=_STEPS,
    )
    return _prefixes(text, steps, len(options))


def check_step(prompt_set: str, *, question: str, options: Sequence[str], steps: Sequence[str]) -> PrefixPrompt:
    """Make the prompt that asks whether the last step is right: (A) yes, (B) no (paper, Table 7; Tyen et al. 2024)."""
    text = _render(prompt_set, "check_step", question=question, options=options, letters=LETTERS, steps=_STEPS)
    return _prefixes(text, steps, 2)


def compare_step(
    prompt_set: str, *, question: str, options: Sequence[str], reference: str, steps: Sequence[str]
) -> PrefixPrompt:
    """Make the prompt that asks whether the last step agrees with a reference: (A) yes, (B) no (paper, Table 7)."""
    fields = {"question": question, "options": options, "letters": LETTERS, "reference": reference}
    return _prefixes(_render(prompt_set, "compare_step", **fields, steps=_STEPS), steps, 2)


def reference(prompt_set: str, *, question: str, options: Sequence[str], answer: str) -> str:
    """Make the prompt that asks for reasoning that leads to the gold answer (paper, Table 7, pseudo rationale)."""
    return _render(prompt_set, "reference", question=question, options=options, letters=LETTERS, answer=answer)


def skill(
    prompt_set: str, *, question: str, options: Sequence[str], answer: str, steps: Sequence[str], step: int | None
) -> str:
    """Make the prompt that asks for the one skill that a mistake shows to be missing (paper, section 3.4).

    Args:
        prompt_set: names the set of templates.
        question: without its image.
        options: texts.
        answer: the gold one.
        steps: of the wrong rationale.
        step: index of the mistake step; None where none is known.
    """
    return _render(
        prompt_set,
        "skill",
        question=question,
        options=options,
        letters=LETTERS,
        answer=answer,
        steps=_spaced(steps),
        mistake="" if step is None else " " + steps[step].strip(),
    )


def pool_skills(prompt_set: str, *, instruction: str, answer: str) -> str:
    """Make the prompt that asks for all skills that a pool sample needs (paper, section 3.5)."""
    return _render(prompt_set, "pool_skills", instruction=instruction, answer=answer)


def _prefixes(text: str, steps: Sequence[str], num_options: int) -> PrefixPrompt:
    head, _, tail = text.partition(_STEPS)
    return PrefixPrompt(head, _spaced(steps), tail, num_options)


def _spaced(steps: Sequence[str]) -> tuple[str, ...]:
    """Put a blank before the first step, as steps follow a colon."""
    first = [" " + step if not step[:1].isspace() else step for step in steps[:1]]
    return (*first, *steps[1:])


def _render(folder: str, name: str, **fields: Any) -> str:
    import jinja2

    try:
        return _template(folder, name).render(**fields)
    except jinja2.UndefinedError as error:
        raise ValueError(f"templates/{folder}/{name}.j2: {error.message}; it is given {sorted(fields)}") from error


@cache
def _template(folder: str, name: str) -> Any:
    import jinja2

    return jinja2.Template(_source(folder, name), undefined=jinja2.StrictUndefined)


@cache
def _source(folder: str, name: str) -> str:
    """Read a template. Raises FileNotFoundError, naming the config key that chose it and what there is."""
    file = TEMPLATES / folder / f"{name}.j2"
    if not file.is_file():
        key = f"student.prompt is {name}" if folder == STUDENT else f"teacher.prompts is {folder}"
        known = sorted(f"{entry.parent.name}/{entry.stem}" for entry in TEMPLATES.glob("*/*.j2"))
        raise FileNotFoundError(f"{key}: no template {folder}/{name}; there are {known}")
    return file.read_text(encoding="utf-8")
