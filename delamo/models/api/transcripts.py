"""A store of all completions that were paid for: SQLite in WAL mode, and a log of JSON lines to rebuild it from.

`transcripts.sqlite` holds completions by key; `transcripts.jsonl` holds the same with the requests in full, and the
failed attempts. Both are written in one transaction, log first, so that a kill between the two is made good on the
next opening. An answer that was cut off, empty or refused is a failed attempt with its reason, never a completion.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from delamo.models.api.requests import Completion
from delamo.records import from_json, to_dict
from delamo.store import locked

DATABASE, LOG = "transcripts.sqlite", "transcripts.jsonl"
TABLES = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, usd REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (id INTEGER PRIMARY KEY, key TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, usd REAL, for_good INTEGER NOT NULL, time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts (key);
CREATE TABLE IF NOT EXISTS queued (key TEXT PRIMARY KEY, file TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT OR IGNORE INTO facts VALUES ('paid', '0.0'), ('log_bytes', '0');
"""


class Transcripts:
    """The completions of one service, below one folder, which is made if it is missing.

    A damaged database is set aside and rebuilt from its log.

    Raises:
        ValueError: the log is damaged in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            self._db = self._open()
            self._catch_up()

    def close(self) -> None:
        """Close the files."""
        self._db.close()

    def get(self, key: str) -> Completion | None:
        """Return the completion of a key; None where there is none."""
        row = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return from_json(Completion, row[0]) if row else None

    def refusal(self, key: str) -> tuple[str, str] | None:
        """Return (reason, detail) of the last attempt, where another one would end in the same way; else None."""
        row = self._db.execute(
            "SELECT reason, detail, for_good FROM attempts WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)
        ).fetchone()
        return (row[0], row[1]) if row and row[2] else None

    def add(self, key: str, request: dict[str, Any], completion: Completion, usd: float | None) -> bool:
        """Store a completion; returns False where there was one."""
        if self.get(key) is not None:
            return False
        self._write({"key": key, "request": request, "reply": to_dict(completion), "usd": usd})
        return True

    def fail(self, key: str, reason: str, detail: str, *, usd: float | None = 0.0, for_good: bool) -> None:
        """Store a failed attempt.

        Args:
            key: of the request.
            reason: short and countable.
            detail: says what happened.
            usd: price of the attempt; None where it is not known.
            for_good: whether the same request would fail again.
        """
        row = {"key": key, "reason": reason, "detail": detail, "usd": usd, "for_good": for_good, "time": time.time()}
        self._write(row)

    @property
    def paid(self) -> float:
        """US dollars for all replies and failed attempts, of all runs."""
        return float(self.fact("paid"))

    def num_replies(self) -> int:
        """Count the completions."""
        return self._db.execute("SELECT count(*) FROM replies").fetchone()[0]

    def fact(self, name: str) -> str | None:
        """Return a value that `set_fact` stored; None where there is none."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: str) -> None:
        """Store a value beside the completions: the service's settings, the result of the probe."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # Requests that went into batch files.

    def queued(self, key: str) -> str | None:
        """Return the batch file that holds the request and has not been answered; None where there is none."""
        row = self._db.execute("SELECT file FROM queued WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def queue(self, keys: Iterable[str], file: str) -> None:
        """Record that these requests are in that batch file."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO queued VALUES (?, ?)", ((key, file) for key in keys))

    def unqueue(self, file: str) -> None:
        """Forget all requests of a batch file."""
        with self._transaction():
            self._db.execute("DELETE FROM queued WHERE file = ?", (file,))

    def queued_files(self) -> dict[str, int]:
        """Return the number of requests without an answer by batch file."""
        return dict(self._db.execute("SELECT file, count(*) FROM queued GROUP BY file ORDER BY file"))

    # The two files.

    def _write(self, row: dict[str, Any]) -> None:
        line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
        with self._transaction(), (self.folder / LOG).open("ab", buffering=0) as log:
            _append(log, line)
            self._enter(row)
            self._db.execute("UPDATE facts SET value = ? WHERE name = 'log_bytes'", (str(log.tell()),))

    def _enter(self, row: dict[str, Any]) -> None:
        key, usd = row["key"], row["usd"]
        if "reply" in row:
            completion = json.dumps(row["reply"], ensure_ascii=False)
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", (key, completion, usd))
        else:
            values = (key, row["reason"], row["detail"], usd, int(row["for_good"]), row["time"])
            self._db.execute("INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?)", values)
        self._db.execute("DELETE FROM queued WHERE key = ?", (key,))
        self._db.execute("UPDATE facts SET value = CAST(value + ? AS TEXT) WHERE name = 'paid'", (usd or 0.0,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        path = self.folder / DATABASE
        try:
            return _connected(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise  # a full disk or a read-only folder is no damage
            number = len(list(self.folder.glob(f"{DATABASE}.damaged-*-of")))
            for part in self.folder.glob(f"{DATABASE}*"):
                if "damaged" not in part.name:
                    part.rename(part.with_name(f"{DATABASE}.damaged-{number}-of{part.name.removeprefix(DATABASE)}"))
            warnings.warn(f"{path} is damaged ({error}): set aside, and rebuilt from {LOG}", stacklevel=2)
            return _connected(path)

    def _catch_up(self) -> None:
        """Enter the rows of the log that the database lacks: after a kill, or all of them when it is new."""
        log = self.folder / LOG
        size = log.stat().st_size if log.exists() else 0
        with self._transaction():
            known = int(self.fact("log_bytes"))
            if known >= size:
                return
            with log.open("r+b") as file:
                file.seek(known)
                while line := file.readline():
                    if not line.endswith(b"\n"):  # torn by a kill: that reply was never accepted
                        file.truncate(file.tell() - len(line))
                        break
                    self._enter(_parsed(line, log))
                file.seek(0, os.SEEK_END)
                self._db.execute("UPDATE facts SET value = ? WHERE name = 'log_bytes'", (str(file.tell()),))


def _connected(path: Path) -> sqlite3.Connection:
    # One thread at a time uses it: the client's loop while requests are under way, the caller's thread in between.
    db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(TABLES)
    except BaseException:
        db.close()
        raise
    return db


def _append(log: BinaryIO, line: bytes) -> None:
    """Append the whole line or, on a full disk, nothing."""
    start = log.seek(0, os.SEEK_END)
    try:
        log.write(line)
        log.flush()
    except OSError:
        log.truncate(start)
        raise


def _parsed(line: bytes, log: Path) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{log} holds a damaged line, {line[:80]!r}: cut that line out and run again") from error
