"""What decides a student's answers, as one digest, without loading a model."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from delamo.models.hf.loading import resolve

TEMPLATES = Path(__file__).parents[1] / "templates" / "student"
HASHED_WHOLE = 64 * 2**20  # bytes; of a larger file the size and both ends count, so that 7B weights take no minute


def student_digest(
    path: str, *, adapter: Path | None = None, revision: str | None = None, prompt: str = "micro"
) -> str:
    """sha256 over what decides an answer: weights and tokenizer files, adapter, prompt template. Loads no model.

    A folder counts by its files' names, sizes and contents (of a file above 64 MiB: size and both ends), a hub id by its
    commit, or by `revision` where the local cache does not hold it. Where the weights lie does not matter.
    """
    parts = [weights_identity(path, revision), folder_digest(adapter) if adapter else "", template_source(prompt)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_identity(path: str, revision: str | None = None) -> str:
    """Digest of a folder's files, or hub id and commit."""
    place = resolve(path)
    return folder_digest(Path(place)) if Path(place).is_dir() else f"{path}@{_commit(path, revision)}"


def folder_digest(folder: Path) -> str:
    """sha256 over the names, sizes and contents of a folder's files; hidden files and Markdown do not count."""
    files = sorted(
        entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "." and entry.suffix != ".md"
    )
    stats = [(file, file.stat()) for file in files]
    return _files_digest(tuple((file, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for file, at in stats))


@lru_cache(maxsize=64)
def _files_digest(files: tuple[tuple[Path, int, int, int, int], ...]) -> str:
    """Of files as they were then: every cell of a sweep asks for the same weights."""
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


def _commit(path: str, revision: str | None) -> str:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision or "main"


@cache
def template(name: str) -> Any:
    import jinja2

    return jinja2.Template(template_source(name), undefined=jinja2.StrictUndefined)


def template_source(name: str) -> str:
    file = TEMPLATES / f"{name}.j2"
    if not file.is_file():
        known = sorted(entry.stem for entry in TEMPLATES.glob("*.j2"))
        raise FileNotFoundError(f"student.prompt is {name}: no such template; there are {known}")
    return file.read_text(encoding="utf-8")
