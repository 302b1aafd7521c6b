"""The teacher's prompts: plain Jinja2 files in `templates/SET/NAME.j2`; a file's digest is part of its stage's identity.

The sets: `micro` for the embedded teacher, which was trained on exactly these words, and `paper` after the paper's appendix B
(Figure 4 for `mistake_step`; Figures 5 and 6 are missing from the published text, so `skill` and `pool_skills` are written here).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from delamo.models.teachers.base import PrefixPrompt
from delamo.records import LETTERS

TEMPLATES = Path(__file__).parent / "templates"
_STEPS = "\x00steps\x00"


def digest(prompt_set: str, name: str) -> str:
    """sha256 of a template's text."""
    return hashlib.sha256(_source(prompt_set, name).encode()).hexdigest()


def mistake_step(
    prompt_set: str, *, question: str, options: Sequence[str], gold: int, prior: float, steps: Sequence[str]
) -> PrefixPrompt:
    """The question without its picture, the prior on the gold answer, and room for any number of steps (paper, Figure 4)."""
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
    """Whether the last step is right, (A) yes or (B) no, for any number of steps (paper, Table 7; Tyen et al. 2024)."""
    words = {"question": question, "options": options, "letters": LETTERS}
    return _prefixes(_render(prompt_set, "check_step", **words, steps=_STEPS), steps, 2)


def compare_step(
    prompt_set: str, *, question: str, options: Sequence[str], reference: str, steps: Sequence[str]
) -> PrefixPrompt:
    """Whether the last step agrees with a reference rationale, (A) yes or (B) no (paper, Table 7)."""
    words = {"question": question, "options": options, "letters": LETTERS, "reference": reference}
    return _prefixes(_render(prompt_set, "compare_step", **words, steps=_STEPS), steps, 2)


def reference(prompt_set: str, *, question: str, options: Sequence[str], answer: str) -> str:
    """Asks for reasoning that leads to the gold answer (paper, Table 7, pseudo rationale)."""
    words = {"question": question, "options": options, "letters": LETTERS}
    return _render(prompt_set, "reference", **words, answer=answer)


def skill(
    prompt_set: str, *, question: str, options: Sequence[str], answer: str, steps: Sequence[str], step: int | None
) -> str:
    """The mistake among all steps, or the steps alone; asks for one missing skill (paper, section 3.4)."""
    spaced = _spaced(steps)
    mistake = "" if step is None else " " + steps[step].strip()
    words = {
        "question": question,
        "options": options,
        "letters": LETTERS,
        "answer": answer,
        "steps": spaced,
        "mistake": mistake,
    }
    return _render(prompt_set, "skill", **words)


def pool_skills(prompt_set: str, *, instruction: str, answer: str) -> str:
    """A pool sample; asks for all skills that its answer needs (paper, section 3.5)."""
    return _render(prompt_set, "pool_skills", instruction=instruction, answer=answer)


def _prefixes(text: str, steps: Sequence[str], num_options: int) -> PrefixPrompt:
    head, _, tail = text.partition(_STEPS)
    return PrefixPrompt(head, _spaced(steps), tail, num_options)


def _spaced(steps: Sequence[str]) -> tuple[str, ...]:
    """The steps with a blank before the first one: they follow a colon."""
    first = [" " + step if not step[:1].isspace() else step for step in steps[:1]]
    return (*first, *steps[1:])


def _render(prompt_set: str, name: str, **words: Any) -> str:
    import jinja2

    try:
        return _template(prompt_set, name).render(**words)
    except jinja2.UndefinedError as error:
        raise ValueError(f"templates/{prompt_set}/{name}.j2: {error.message}; it is given {sorted(words)}") from error


@cache
def _template(prompt_set: str, name: str) -> Any:
    import jinja2

    return jinja2.Template(_source(prompt_set, name), undefined=jinja2.StrictUndefined)


@cache
def _source(prompt_set: str, name: str) -> str:
    file = TEMPLATES / prompt_set / f"{name}.j2"
    if not file.is_file():
        known = sorted(f"{entry.parent.name}/{entry.stem}" for entry in TEMPLATES.glob("*/*.j2"))
        raise FileNotFoundError(f"teacher.prompts is {prompt_set}: no template {prompt_set}/{name}; there are {known}")
    return file.read_text(encoding="utf-8")
