"""Identities of students and of weights, as digests, without loading a model."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from delamo.models import prompts
from delamo.models.hf.loading import resolve

HASHED_WHOLE = 64 * 2**20  # bytes; of a larger file the size and both ends count, so that 7B weights take no minute


def student_digest(path: str, *, revision: str | None, prompt: str, adapter: Path | None = None) -> str:
    """Return the SHA-256 over what decides an answer: weights and tokenizer files, adapter, prompt template.

    A folder counts by its files' names, sizes and contents (of a file above 64 MiB: size and both ends), a hub id by
    its commit, or by `revision` where the local cache does not hold it. Where the weights lie does not matter.

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
    """Return the digest of a folder's files, or a hub id with its commit."""
    folder = Path(resolve(path))
    return folder_digest(folder) if folder.is_dir() else f"{path}@{_commit(path, revision)}"


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names, sizes and contents of a folder's files, hidden ones and Markdown aside."""
    files = sorted(
        entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "." and entry.suffix != ".md"
    )
    stats = [(file, file.stat()) for file in files]
    return _files_digest(tuple((file, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for file, at in stats))


@lru_cache(maxsize=64)
def _files_digest(files: tuple[tuple[Path, int, int, int, int], ...]) -> str:
    """Digest files in the state that is given: every experiment of a sweep asks for the same weights."""
    digest = hashlib.sha256()
    for file, size, *_ in files:
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            if size > HASHED_WHOLE:
                digest.update(stream.read(2**20))
                stream.seek(-(2**20), 2)
            for chunk in iter(lambda: stream.read(2**20), b""):
                digest.update(chunk)
    return digest.hexdigest()


def cached_config(path: str, revision: str | None) -> Path | None:
    """Return the config of a model in the hub's local cache; None where it is not there.

    Raises:
        huggingface_hub.errors.HFValidationError: the path can be no hub id.
    """
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _commit(path: str, revision: str | None) -> str:
    cached = cached_config(path, revision)
    return cached.parent.name if cached else revision or "main"
