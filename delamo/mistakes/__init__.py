"""How the mistake step of a wrong rationale is found: one file for each method, found by the type of its config.

A file holds the method's config, its function `find(cases, teacher, config)` and one `Finder` that declares both. A new
one: its file, a YAML file in `conf/mistakes`, and one line below.
"""

from __future__ import annotations

from delamo.config.registry import register
from delamo.mistakes import (
    annotated,
    answer_switch,
    prompt_per_step,
    pseudo_rationale,
    random_step,
    whole_rationale,
)
from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig

FINDERS: dict[type[MistakesConfig], Finder] = {
    finder.config: finder
    for finder in (
        answer_switch.FINDER,
        prompt_per_step.FINDER,
        pseudo_rationale.FINDER,
        random_step.FINDER,
        annotated.FINDER,
        whole_rationale.FINDER,
    )
}
"""Every finder, by the type of its config."""

register({f"mistakes/{finder.name}": finder.config for finder in FINDERS.values()})

__all__ = ["FINDERS", "ErrorCase", "Finder", "MistakesConfig"]
