"""Content-addressed results on disk: done or not done, never half.

A result's identity is a JSON value: the config fields that it depends on, the digests of its inputs and its code's
version. Its folder is `root/KIND/LABEL-DIGEST12/`; the label is for people, the digest alone decides. A folder is
written under a hidden name, synced, then renamed, so that a reader sees all of it or nothing. A lock file makes one
process compute what several want.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from delamo.records import Quarantined, from_dict, to_dict
from delamo.store.files import digest_of, read_rows, slug, sync_path, sync_tree, write_json, write_rows
from delamo.store.locks import locked
from delamo.store.provenance import provenance
from delamo.store.resources import disk_bytes, forget_peak, peak_memory

T = TypeVar("T")
MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
WORK = "work"
ATTEMPT = "attempt.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """What became of a stage's inputs: `num_in` = `num_ok` + the quarantined + the skipped."""

    num_in: int
    num_ok: int
    quarantined: Sequence[Quarantined] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    """Inputs that the stage leaves out on purpose, counted by reason."""

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, by reason.

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
    """The folder of a result while it is written, and what its manifest will say."""

    path: Path
    counts: RowCounts | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """More for the manifest: seeds, tokens, cost, counts."""

    @property
    def work(self) -> Path:
        """The folder for shards and checkpoints, which is deleted once the result is in place."""
        return self.path / WORK

    def finish(self, counts: RowCounts, **notes: Any) -> None:
        """Record what became of the inputs, and more for the manifest."""
        self.counts = counts
        self.notes.update(notes)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The result of one stage: where it lies or will lie."""

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
        digest = self.manifest()["digest"]
        if digest != self.digest:
            raise ValueError(
                f"{self.path / MANIFEST}: digest is {digest}, expected {self.digest}: delete the folder and run again"
            )
        return True

    def manifest(self) -> dict[str, Any]:
        """Read what is recorded beside the result."""
        return json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))

    def rows(self, cls: type[T], name: str | None = None) -> list[T]:
        """Read the records in `NAME.jsonl` (by default, named as the stage)."""
        return read_rows(cls, self.path / f"{name or self.kind}.jsonl")

    def quarantined(self) -> list[Quarantined]:
        """Read the rows that the stage could not use."""
        path = self.path / QUARANTINE
        return read_rows(Quarantined, path) if path.exists() else []

    @contextlib.contextmanager
    def writing(self, *, resumable: bool = False) -> Iterator[ResultWriter | None]:
        """Write the result inside the block, under its lock; it is in place when the block ends well.

        Args:
            resumable: whether the files of an attempt that was killed or failed stay for the next one.

        Yields:
            The writer, or None where another process computed the result meanwhile.

        Raises:
            ValueError: the block ended without `writer.finish(...)`, or its counts do not add up.
        """
        with self._lock():
            if self.done:
                yield None
                return
            with self._writer(resumable) as writer:
                yield writer

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.root / ".locks" / f"{self.kind}-{self.digest[:12]}", what=f"{self.kind} {self.label}")

    @contextlib.contextmanager
    def _writer(self, resumable: bool) -> Iterator[ResultWriter]:
        # Under the lock nobody else writes this result, so a partial folder was left by a killed process.
        final = self.path
        folder = final.with_name(f".{self.digest[:12]}.partial")
        if not resumable:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        writer = ResultWriter(folder)
        attempt = _next_attempt(writer) if resumable else Attempt(1, 0.0, time.time())
        forget_peak()
        try:
            yield writer
            self._complete(writer, attempt)
        except BaseException:
            if not resumable:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_tree(folder)
        folder.rename(final)
        sync_path(final.parent)
        shutil.rmtree(final / WORK, ignore_errors=True)

    def _complete(self, writer: ResultWriter, attempt: Attempt) -> None:
        if writer.counts is None:
            raise ValueError(f"stage {self.kind} ended without a count of its rows: call writer.finish(...)")
        if writer.counts.quarantined:
            write_rows(writer.path / QUARANTINE, writer.counts.quarantined)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "label": self.label,
            "digest": self.digest,
            "identity": self.identity,
            "accounting": writer.counts.to_dict(),
            "started": attempt.started,
            "seconds": attempt.seconds_before + time.time() - attempt.started,
            "attempts": attempt.number,
            "peak_memory_bytes": peak_memory(),
            "disk_bytes": disk_bytes(writer.path, without=WORK),
            **writer.notes,
            **provenance(),
        }
        write_json(writer.path / MANIFEST, manifest)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a result. What a killed one computed is used, so its time belongs to what the result cost."""

    number: int
    seconds_before: float
    """Of the earlier attempts, each until the last file that it wrote."""
    started: float


def _next_attempt(writer: ResultWriter) -> Attempt:
    path, attempt = writer.work / ATTEMPT, Attempt(1, 0.0, time.time())
    if path.is_file():
        last = from_dict(Attempt, json.loads(path.read_text(encoding="utf-8")))
        written = max(file.stat().st_mtime for file in writer.path.rglob("*") if file.is_file())
        attempt = Attempt(last.number + 1, last.seconds_before + max(0.0, written - last.started), time.time())
    writer.work.mkdir(exist_ok=True)
    write_json(path, to_dict(attempt))
    return attempt


@dataclass(frozen=True, slots=True)
class Store:
    """All results below one folder."""

    root: Path

    def result(self, kind: str, label: str, identity: dict[str, Any], version: int) -> StoredResult:
        """Address the result of that kind and identity, made by that version of the code; it may be done or not."""
        whole = {"kind": kind, "version": version, **identity}
        return StoredResult(self.root.absolute(), kind, label, whole, digest_of(whole))
