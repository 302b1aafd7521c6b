"""Tab completion: Hydra's scripts for bash, zsh and fish, and candidates read from `conf/` without composing.

Hydra's own candidates take a second for each key press, and lack verbs, nested choices such as `task=micro/objects` and
lists of choices such as `selector=random,less`.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from delamo.cli.echo import show
from delamo.config import conf

SHELLS = ("bash", "fish", "zsh")
EXPERIMENT_VERBS = ("run", "plan", "doctor")
"""Verbs that take what an experiment takes; the others have a YAML file of their own, or look an id up."""
HYDRA_FLAGS = ("--cfg", "--config-dir", "--help", "--hydra-help", "--info", "--multirun", "--resolve")


def shell_completion(request: str, verbs: Sequence[str]) -> None:
    """Answer a call with `-sc`, by printing.

    Args:
        request: `install=SHELL` and `uninstall=SHELL` print a script; `query=SHELL`, which the script calls, prints the
            candidates for the line in the environment variable COMP_LINE.
        verbs: names of the verbs.

    Raises:
        ValueError: another request, or a shell that Hydra has no script for.
    """
    command, _, shell = request.partition("=")
    if command not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise ValueError(
            f"-sc {request}: expected install=SHELL or uninstall=SHELL, where SHELL is {', '.join(SHELLS)}"
        )
    if command == "query":
        show("\n".join(candidates(os.environ.get("COMP_LINE", ""), verbs)))
        return
    import hydra

    sys.argv = ["delamo", "-sc", request]  # the script completes the program of this name
    hydra.main(config_path=None, version_base="1.3")(lambda config: None)()


def candidates(line: str, verbs: Sequence[str]) -> list[str]:
    """Complete the last word of a command line.

    Args:
        line: up to the cursor, with the name of the program.
        verbs: names of the verbs.
    """
    _, *words = line.split()
    word = "" if line.endswith(" ") or not words else words.pop()
    if not words:
        return [name for name in (*verbs, "--help", "--version") if name.startswith(word)]
    verb, *overrides = words
    if verb not in verbs:
        return []
    if word.startswith("-"):
        return [flag for flag in HYDRA_FLAGS if flag.startswith(word)]
    root = "config" if verb in EXPERIMENT_VERBS else verb
    if not conf.has_root(root):
        return _starting(word, ["runs="])
    chosen = dict(text.split("=", 1) for text in overrides if "=" in text)
    key, is_set, value = word.partition("=")
    return _with_value(root, key, value, chosen) if is_set else _keys(root, word, chosen)


def _with_value(root: str, key: str, value: str, chosen: Mapping[str, str]) -> list[str]:
    """Complete a value: a choice of a group, the last of several in a sweep, a path, or a plain key's own value."""
    if value.startswith((".", "/", "~")):
        paths = glob.glob(os.path.expanduser(value) + "*")
        return [f"{key}={path}{'/' if os.path.isdir(path) else ''}" for path in sorted(paths)]
    if key in conf.default_choices(root):
        head, comma, last = value.rpartition(",")
        return [f"{key}={head}{comma}{choice}" for choice in _starting(last, conf.choices(key))]
    present = _plain_values(root, key, chosen).get(key)
    text = str(present).lower() if isinstance(present, bool) else str(present)
    return [f"{key}={text}"] if present is not None and "${" not in text and text.startswith(value) else []


def _keys(root: str, word: str, chosen: Mapping[str, str]) -> list[str]:
    """Complete a key: groups (`task=`), their fields (`task.seed=`) and the keys of no group."""
    groups = conf.default_choices(root)
    keys = [f"{key}=" for key in (*groups, *_plain_values(root, word, chosen))]
    nodes = {key.partition(".")[0] for key in keys if "." in key} | set(groups).difference(conf.PRESETS)
    return _starting(word, [*keys, *(f"{node}." for node in nodes if f"{node}." != word)])


def _plain_values(root: str, word: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of no group by dotted key; and of one group, where the word is inside it."""
    values = _dotted(conf.root_values(root))
    group, dot, _ = word.partition(".")
    if dot and group in (groups := conf.default_choices(root)):
        defaults = conf.choices_at(chosen.get("scale", "micro")) if root == "config" else groups
        choice = chosen.get(group) or defaults.get(group)
        if choice is not None and conf.exists(group, choice):
            values |= {f"{group}.{key}": value for key, value in conf.group_values(group, choice).items()}
    return values


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _starting(word: str, options: Sequence[str]) -> list[str]:
    return sorted({option for option in options if option.startswith(word)})
