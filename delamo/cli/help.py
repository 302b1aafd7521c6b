"""`delamo run --help`: the config groups, their options and the plain keys, read from `conf/` as it is installed."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

from delamo.config.compose import conf_dir

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
    """The help text."""
    import yaml

    folder = conf_dir()
    composed = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    defaults = _defaults(composed.pop("defaults"))
    groups = [_group(folder / name, defaults.get(name)) for name in sorted(_group_names(folder), key=_order(defaults))]
    keys = [f"  {key}={_shown(value)}" for key, value in composed.items() if key != "hydra"]
    return HEAD + "".join(groups) + "\nKeys and their defaults:\n\n" + "\n".join(keys) + "\n" + TAIL


def _defaults(entries: list[Any]) -> dict[str, str]:
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {group: option for group, option in pairs if " " not in group}


def _group_names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name != "local"]


def _order(defaults: dict[str, str]):
    names = list(defaults)
    return lambda group: (names.index(group) if group in names else len(names), group)


def _group(folder: Path, default: str | None) -> str:
    options = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    marked = ", ".join(f"{option}*" if option == default else option for option in options)
    return (
        fill(marked, 110, initial_indent=f"  {folder.name:<12}", subsequent_indent=" " * 14, break_on_hyphens=False)
        + "\n"
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
