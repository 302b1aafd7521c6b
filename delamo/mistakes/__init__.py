"""How the mistake step of a wrong rationale is found: one file for each method, all with one signature, found by config type.

find(cases, teacher, **fields of the schema) -> (mistakes, cases set aside)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from delamo.experiment.config import (
    AnnotatedConfig,
    AnswerSwitchConfig,
    MistakesConfig,
    PromptPerStepConfig,
    PseudoRationaleConfig,
    RandomStepConfig,
    WholeRationaleConfig,
)
from delamo.mistakes import annotated, answer_switch, prompt_per_step, pseudo_rationale, random_step, whole_rationale
from delamo.mistakes.cases import ErrorCase
from delamo.records import Mistake, Quarantined


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """One method."""

    find: Callable[..., tuple[list[Mistake], list[Quarantined]]]
    templates: tuple[str, ...] = ()
    """Prompts that it asks the teacher with; a method without any never loads one."""
    files: tuple[str, ...] = ()
    """Fields of its schema that name a file; the content is part of the result's identity."""


FINDERS: dict[type[MistakesConfig], Finder] = {
    AnswerSwitchConfig: Finder(find=answer_switch.find, templates=("mistake_step",)),
    PromptPerStepConfig: Finder(find=prompt_per_step.find, templates=("check_step",)),
    PseudoRationaleConfig: Finder(find=pseudo_rationale.find, templates=("reference", "compare_step")),
    RandomStepConfig: Finder(find=random_step.find),
    AnnotatedConfig: Finder(find=annotated.find, files=("path",)),
    WholeRationaleConfig: Finder(find=whole_rationale.find),
}

__all__ = ["FINDERS", "ErrorCase", "Finder"]
