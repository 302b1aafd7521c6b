"""The help of `delamo run`: config groups, their choices and plain keys, read from `conf/` alone."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from delamo.config import conf

HEAD = """\
delamo run [KEY=VALUE ...]              one experiment cell
delamo run -m KEY=A,B [KEY=VALUE ...]   every combination, one cell each; finished cells are skipped

Groups and their options (* is the default), set as in task=micro/surfaces:

"""
TAIL = """\

Any field of a group's file can be set too, as in budget=custom budget.num_samples=700 or tuning.learning_rate=1e-4.
Hydra's own flags: --cfg job shows the composed config, --info defaults where it comes from, --hydra-help the rest.
"""


def describe() -> str:
    """Return the help: the config groups, their options, and the plain keys with their defaults."""
    defaults = conf.default_choices()
    groups = sorted(conf.groups(), key=lambda name: (list(defaults).index(name) if name in defaults else 99, name))
    lines = [_group(name, defaults.get(name)) for name in groups]
    keys = [f"  {key}={_shown(value)}" for key, value in conf.root_values().items()]
    return HEAD + "".join(lines) + "\nKeys and their defaults:\n\n" + "\n".join(keys) + "\n" + TAIL


def _group(name: str, default: str | None) -> str:
    marked = ", ".join(f"{option}*" if option == default else option for option in conf.choices(name))
    return fill(marked, 110, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_on_hyphens=False) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
