"""Plugins: code beside the package that registers choices of its own, loaded before a config is composed.

A plugin is a Python file that the environment variable DELAMO_PLUGINS names, or a module of an installed package that
has an entry point in the group `delamo.plugins`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

VARIABLE = "DELAMO_PLUGINS"
"""Paths of Python files, separated as those of PATH."""
PACKAGE = "delamo"
SHARED_FOLDERS = ("site-packages", "dist-packages", "node_modules")
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


def code_of(thing: Any) -> dict[str, str]:
    """Return `{"code": digest}` of what a class or function of a plugin is made of; {} for the package's own.

    The package's own code counts by the `version` of its stages, selectors and finders.
    """
    name = str(getattr(thing, "__module__", ""))
    return {} if name.partition(".")[0] == PACKAGE else {"code": plugin_digest(Path(inspect.getfile(thing)))}


def plugin_digest(file: Path) -> str:
    """Return the SHA-256 of a plugin: that of its file where it has no other, else that of all its Python files.

    These are the Python files of the package that the file belongs to, or, of a file outside of packages, those of its
    folder and of the folders below that hold any, hidden ones aside. A module straight in `site-packages` is alone.
    """
    files = _python_files(file.resolve())
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    if len(files) == 1:
        return contents[0]
    root = Path(os.path.commonpath([path.parent for path in files]))
    lines = [f"{path.relative_to(root).as_posix()} {content}" for path, content in zip(files, contents, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _python_files(file: Path) -> list[Path]:
    root = file.parent
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    if root.name in SHARED_FOLDERS:
        return [file]
    found = {file}
    for folder, names, files in os.walk(root):
        modules = {Path(folder, name) for name in files if name.endswith(".py")}
        found |= modules
        names[:] = [name for name in names if name[0] != "." and name not in SHARED_FOLDERS] if modules else []
    return sorted(found)


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
