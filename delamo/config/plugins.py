"""Code of one's own beside the package.

The files that an environment variable names are run before a config is composed.
"""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

VARIABLE = "DELAMO_PLUGINS"
"""Paths of Python files, apart as those of PATH are."""


def load_plugins() -> None:
    """Run each file once, as a module, so that what it registers is there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no Python file, or another one of the same name was run before.
    """
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
