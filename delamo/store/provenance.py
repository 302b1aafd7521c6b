"""Where a result came from: the command, the code's commit and the versions of the packages."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from delamo import __version__

PACKAGES = (
    *(
        "torch",
        "transformers",
        "tokenizers",
        "peft",
        "pytorch-lightning",
        "numpy",
        "scipy",
        "pillow",
        "bm25s",
        "rank-bm25",
    ),
    *("pysbd", "litellm", "hydra-core", "omegaconf"),
)


def provenance() -> dict[str, Any]:
    """`argv`, `code` (package version, commit, dirty flag), `packages`, `python` and `platform`."""
    return {"argv": list(sys.argv), **_environment()}


@functools.cache
def _environment() -> dict[str, Any]:
    return {
        "code": code_revision(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


@functools.cache
def code_revision() -> dict[str, Any]:
    """The package's version and, in a checkout, its commit and whether tracked files differ from it; else None."""
    package = Path(__file__).resolve().parents[1]
    commit = dirty = None
    if (package.parent / ".git").exists():
        commit = _git(package.parent, "rev-parse", "HEAD")
        status = _git(package.parent, "status", "--porcelain", "--untracked-files=no")
        dirty = None if status is None else bool(status)
    return {"version": __version__, "commit": commit, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or a checkout that it refuses to read: the revision is unknown, the result is as good
    return found.stdout.strip()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of packages as far as a result may hang on them: `4.57` of 4.57.3, `2.9` of 2.9.1+cu128.

    A third number says that faults were mended; a library's numbers are meant to stay. What is installed in full stands
    in each manifest. None is a package that is not installed, which may send an image through another one.
    """
    found = {name: _version(name) for name in packages}
    return {name: full and ".".join(full.partition("+")[0].split(".")[:2]) for name, full in found.items()}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
