"""Content-addressed stage results on disk: done or not done, never half.

A stage's identity is a JSON value: the config fields that it reads, the digests of its inputs and its code's version. Its folder is
`root/KIND/LABEL-DIGEST12/`; the label is for people, the digest alone decides. A folder is written under a hidden name,
synced, then renamed, so that a reader sees all of it or nothing. A lock file makes one process compute what several want.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from delamo.records import Quarantined, from_dict, from_json, to_dict, to_json
from delamo.store.provenance import provenance
from delamo.store.resources import disk_bytes, forget_peak, peak_memory

S = TypeVar("S")
T = TypeVar("T")
MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
WORK = "work"
ATTEMPT = "attempt.json"
SCHEMA_VERSION = 1
_waits: ContextVar[bool] = ContextVar("waits", default=True)


class BusyError(Exception):
    """Another process is at this work, and waiting for it is not wanted (see `not_waiting`)."""


@contextlib.contextmanager
def not_waiting() -> Iterator[None]:
    """Inside, work that another process is at raises `BusyError`, so that there is time for other work."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits. Raises TypeError or ValueError for what JSON cannot hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slug(text: str) -> str:
    """`text` as part of a file name: anything but letters, digits and ._+- becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_") or "_"


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, and a power cut leaves one of them."""
    write_parts(path, [text])


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """`write_text`, of a stream."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write records as JSON lines."""
    write_parts(path, (to_json(row) + "\n" for row in rows))


def read_rows(cls: type[T], path: Path) -> list[T]:
    """Read what `write_rows` wrote. Raises ValueError, naming file and line, for a row that is not a `cls`."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                rows.append(from_json(cls, line))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{path}:{number} is not a {cls.__name__} ({error}): delete {path.parent} and run again"
                ) from error
    return rows


@contextlib.contextmanager
def locked(path: Path, *, what: str = "") -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it; the system lets go of it when the process dies.

    Args:
        what: names the work in a line on stderr, where another process is at it.

    Raises:
        BusyError: another process holds it, under `not_waiting`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _waits.get():
                raise BusyError(what or str(path)) from None
            if what:
                print(f"{what}: another process is at it, waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """What became of a stage's inputs: `num_in` = `num_ok` + the quarantined + the skipped."""

    num_in: int
    num_ok: int
    quarantined: Sequence[Quarantined] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    """Inputs that the stage leaves out on purpose, counted by reason."""

    def to_dict(self) -> dict[str, Any]:
        """The counts, by reason.

        Raises:
            ValueError: the counts do not add up; a stage lost rows or made some up.
        """
        failed = dict(sorted(Counter(row.reason for row in self.quarantined).items()))
        if self.num_in != self.num_ok + sum(failed.values()) + sum(self.skipped.values()):
            raise ValueError(
                f"rows do not add up: {self.num_in} in, {self.num_ok} ok, failed {failed}, skipped {self.skipped}"
            )
        return {"in": self.num_in, "ok": self.num_ok, "failed": failed, "skipped": self.skipped}


@dataclass(slots=True)
class ResultWriter:
    """A stage's folder while it is written, and what its manifest will say."""

    path: Path
    account: RowCounts | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """More for the manifest: seeds, tokens, cost, counts."""

    @property
    def work(self) -> Path:
        """A folder for shards and checkpoints, which goes away once the result is in place."""
        return self.path / WORK

    def finish(self, account: RowCounts, **notes: Any) -> None:
        """Record what became of the inputs."""
        self.account = account
        self.notes.update(notes)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage result: where it lies or will lie."""

    root: Path
    kind: str
    label: str
    identity: dict[str, Any]
    digest: str

    @property
    def path(self) -> Path:
        """The folder of the result. A folder of the same digest under another label is the same result."""
        same = sorted((self.root / self.kind).glob(f"*-{self.digest[:12]}"))
        return same[0] if same else self.root / self.kind / f"{slug(self.label)}-{self.digest[:12]}"

    @property
    def done(self) -> bool:
        """Whether the result is there, whole.

        Raises:
            ValueError: a result lies there whose identity is another (a damaged or hand-edited store).
        """
        if not (self.path / MANIFEST).is_file():
            return False
        found = self.manifest()["digest"]
        if found != self.digest:
            raise ValueError(
                f"{self.path / MANIFEST}: digest is {found}, expected {self.digest}: delete the folder and run again"
            )
        return True

    def manifest(self) -> dict[str, Any]:
        """What is recorded beside the result."""
        return json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))

    def rows(self, cls: type[T], name: str | None = None) -> list[T]:
        """The records in `NAME.jsonl` (by default, the stage's kind)."""
        return read_rows(cls, self.path / f"{name or self.kind}.jsonl")

    def quarantined(self) -> list[Quarantined]:
        """Rows that this stage could not use."""
        path = self.path / QUARANTINE
        return read_rows(Quarantined, path) if path.exists() else []

    def ensure(self, make: Callable[[ResultWriter], None], *, resumable: bool = False) -> bool:
        """Compute the result with `make` unless it is done; True if it was computed here.

        Args:
            make: writes files into `draft.path` and ends with `draft.finish(...)`.
            resumable: what `make` left behind when it was killed or failed stays for its next attempt.
        """
        if self.done:
            return False
        with self._lock():
            if self.done:
                return False
            with self._draft(resumable) as draft:
                make(draft)
        return True

    @contextlib.contextmanager
    def writing(self, *, resumable: bool = False) -> Iterator[ResultWriter]:
        """The `with` form of `ensure`, for a result that is known not to be done.

        Raises:
            FileExistsError: it is done.
        """
        with self._lock():
            if self.done:
                raise FileExistsError(f"{self.path} is done already")
            with self._draft(resumable) as draft:
                yield draft

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.root / ".locks" / f"{self.kind}-{self.digest[:12]}", what=f"{self.kind} {self.label}")

    @contextlib.contextmanager
    def _draft(self, resumable: bool) -> Iterator[ResultWriter]:
        # Under the lock nobody else writes this stage, so a draft that is found here was left by a killed process.
        final = self.path
        folder = final.with_name(f".{self.digest[:12]}.partial")
        if not resumable:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        draft = ResultWriter(folder)
        attempt = _next_attempt(draft) if resumable else Attempt(1, 0.0, time.time())
        forget_peak()
        try:
            yield draft
            self._complete(draft, attempt)
        except BaseException:
            if not resumable:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_tree(folder)
        folder.rename(final)
        _sync(final.parent)
        shutil.rmtree(final / WORK, ignore_errors=True)

    def _complete(self, draft: ResultWriter, attempt: Attempt) -> None:
        if draft.account is None:
            raise ValueError(f"stage {self.kind} ended without an account of its rows: call draft.finish(...)")
        if draft.account.quarantined:
            write_rows(draft.path / QUARANTINE, draft.account.quarantined)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "label": self.label,
            "digest": self.digest,
            "identity": self.identity,
            "accounting": draft.account.to_dict(),
            "started": attempt.started,
            "seconds": attempt.seconds_before + time.time() - attempt.started,
            "attempts": attempt.number,
            "peak_memory_bytes": peak_memory(),
            "disk_bytes": disk_bytes(draft.path, without=WORK),
            **draft.notes,
            **provenance(),
        }
        write_json(draft.path / MANIFEST, manifest)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a stage. What a killed one computed is used, so its time belongs to what the result cost."""

    number: int
    seconds_before: float
    """Of the earlier ones, each until the last file that it wrote."""
    started: float


def _next_attempt(draft: ResultWriter) -> Attempt:
    path, attempt = draft.work / ATTEMPT, Attempt(1, 0.0, time.time())
    if path.is_file():
        last = from_dict(Attempt, json.loads(path.read_text(encoding="utf-8")))
        written = max(file.stat().st_mtime for file in draft.path.rglob("*") if file.is_file())
        attempt = Attempt(last.number + 1, last.seconds_before + max(0.0, written - last.started), time.time())
    draft.work.mkdir(exist_ok=True)
    write_json(path, to_dict(attempt))
    return attempt


@dataclass(frozen=True, slots=True)
class Store:
    """All stage results below one folder."""

    root: Path

    def stage(self, kind: str, label: str, identity: dict[str, Any], version: int) -> Stage:
        """The result of that kind and identity, made by that version of the code; it may be done or not."""
        whole = {"kind": kind, "version": version, **identity}
        return Stage(self.root.absolute(), kind, label, whole, digest_of(whole))


def append_shards(
    folder: Path,
    items: Iterable[S],
    cls: type[T],
    *,
    key: Callable[[S], str],
    work: Callable[[list[S]], tuple[list[T], list[Quarantined]]],
    shard_size: int,
) -> Iterator[tuple[list[T], list[Quarantined]]]:
    """Work through `items` in shards, each an atomic file below `folder`; a shard that is there is not worked again.

    Args:
        folder: of a resumable draft.
        items: in an order that the next attempt repeats.
        cls: what `work` makes of them, beside quarantined rows.
        key: an item's id; the shards' first and last ids guard against another order.
        work: the results of one shard of items.
        shard_size: items for each new shard: what a kill can lose at most. Shards of another size that are there are kept.

    Yields:
        The results of each shard, old or new.

    Raises:
        ValueError: a shard that is there was made from other items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = iter(items)
    for number in count():
        path = folder / f"{number:06d}.json"
        shard = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        batch = list(islice(stream, shard["items"]["count"] if shard else shard_size))
        if not batch:
            return
        items_of_shard = {"count": len(batch), "first": key(batch[0]), "last": key(batch[-1])}
        if shard is None:
            rows, bad = work(batch)
            write_json(
                path, {"items": items_of_shard, "rows": [*map(to_dict, rows)], "quarantined": [*map(to_dict, bad)]}
            )
        elif shard["items"] != items_of_shard:
            raise ValueError(
                f"{path} was made from {shard['items']}, not {items_of_shard}: delete {folder} and run again"
            )
        else:
            rows = [from_dict(cls, row) for row in shard["rows"]]
            bad = [from_dict(Quarantined, row) for row in shard["quarantined"]]
        yield rows, bad


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
