"""Plugins: code beside the package that registers choices of its own, loaded before a config is composed.

A plugin is a Python file that the environment variable DELAMO_PLUGINS names, or a module of an installed package that
has an entry point in the group `delamo.plugins`.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

VARIABLE = "DELAMO_PLUGINS"
"""Paths of Python files, separated as those of PATH."""
ENTRY_POINTS = "delamo.plugins"
"""Group of the entry points of installed packages."""


def load_plugins() -> None:
    """Import the plugins, each once: those of installed packages, then the files that the environment names.

    Raises:
        ImportError: an installed plugin cannot be imported.
        FileNotFoundError: no such file.
        ValueError: it is no Python file, or another one of the same name was loaded before.
    """
    for entry_point in entry_points(group=ENTRY_POINTS):
        entry_point.load()
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        path = Path(name).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"{VARIABLE} names {name}: there is no such file below {Path.cwd()}")
        module = f"delamo_plugin_{path.stem}"
        if module not in sys.modules:
            _run(path, module)
        elif Path(sys.modules[module].__file__ or "") != path:
            raise ValueError(f"{VARIABLE} names {name} and {sys.modules[module].__file__}: give them different names")


def _run(path: Path, name: str) -> None:
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{VARIABLE} names {path}: it does not end in .py")
    sys.modules[name] = module_from_spec(spec)  # dataclasses look their module up
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise
