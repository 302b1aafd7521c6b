"""Identities of students and of weights, as digests, without loading a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from delamo.models import prompts
from delamo.models.hf.commits import UnknownCommitError, commit_of
from delamo.models.hf.loading import resolve
from delamo.store import content_digests

TEMPLATES = "additional_chat_templates"
"""The one folder beside a checkpoint's own files that transformers reads of it."""


def student_digest(path: str, *, revision: str | None, prompt: str, adapter: Path | None = None) -> str:
    """Return the SHA-256 over what decides an answer: weights and tokenizer files, adapter, prompt template.

    A folder counts by its files' names and all of their bytes, a hub id by its commit, which is settled before the
    first download (`delamo.models.hf.commits`). Where the weights lie does not matter.

    Args:
        path: a folder, a hub id, or `package:NAME`.
        revision: of a hub id.
        prompt: names the set of the prompt template.
        adapter: the folder that tuning wrote; None is the untuned student.
    """
    parts = [
        weights_identity(path, revision),
        folder_digest(adapter) if adapter else "",
        prompts.question_source(prompt),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_identity(path: str, revision: str | None) -> str:
    """Return the digest of a folder's files, or a hub id with its commit.

    Where nobody can say which commit a name stands for, the name takes its place, so that a plan can be made; a model
    is not loaded then (`commits.pinned`), and nothing is stored under the name.
    """
    folder = Path(resolve(path))
    if folder.is_dir():
        return folder_digest(folder)
    try:
        return f"{path}@{commit_of(path, revision)}"
    except UnknownCommitError:
        return f"{path}@{revision or 'main'}"


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of a folder's files, hidden ones and Markdown aside."""
    files = sorted(_files(folder), key=lambda file: file.relative_to(folder).as_posix())
    digest = hashlib.sha256()
    for file, content in zip(files, content_digests(files, f"digest of {folder.name}"), strict=True):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_file() and entry.name[0] != "." and entry.suffix != ".md":
            yield entry
    yield from (folder / TEMPLATES).glob("*.jinja")
