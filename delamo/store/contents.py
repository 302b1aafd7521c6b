"""Digests of files by all of their bytes, each file read once for as long as it stays as it is.

A digest is kept in a small database of the user's (`$XDG_CACHE_HOME/delamo`, `~/.cache/delamo`, or the folder that
DELAMO_CACHE names) under the file's path, size, times of change of content and inode, and inode number. The database
only saves reading: without it, or where it is damaged, digests are the same and take longer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

VARIABLE = "DELAMO_CACHE"
"""Names the folder of the database."""
DATABASE = "contents.sqlite"
FRESH_NS = 2 * 10**9
"""A file changed less than this ago may change again within one tick of the clock: its digest is not kept."""
THREADS = min(8, 2 * (os.cpu_count() or 1))
"""Small files wait for the disk, large ones for the processor; SHA-256 runs outside of Python's lock."""
BLOCK = 2048
"""Files that are looked up and kept together."""
CHUNK = 2**20
SLOW = 64 * CHUNK
"""Bytes from which a file has a progress bar, shown where it takes more than 5 s."""
State = tuple[str, int, int, int, int]
"""Path, size, times of change of content and of the inode in ns, and inode number."""
_known: dict[State, str] = {}
_MOST_KNOWN = 1 << 20


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits, without reading a file that was read before.

    Raises:
        OSError: the file cannot be read.
    """
    return content_digests([path])[0]


def content_digests(paths: Sequence[Path | str], what: str = "digest of files") -> list[str]:
    """Return the SHA-256 of the bytes of each file, in order, reading those not seen before in several threads.

    Args:
        paths: of files; one may stand several times.
        what: names the work in the progress bar, which comes after 5 s.

    Raises:
        OSError: a file cannot be read.
    """
    digests: list[str] = []
    with tqdm(total=len(paths), desc=what, unit="file", delay=5, leave=False, file=sys.stderr) as bar:
        for start in range(0, len(paths), BLOCK):
            block = [state_of(path) for path in paths[start : start + BLOCK]]
            found = _read(block)
            digests += [found[state] for state in block]
            bar.update(len(block))
    return digests


def state_of(path: Path | str) -> State:
    """Return what a digest is kept under: it differs wherever the content of a file may differ."""
    status = os.stat(path)
    return os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(states: Iterable[State]) -> dict[State, str]:
    """Return the digest of every file of a block."""
    wanted = list(dict.fromkeys(states))
    found = {state: _known[state] for state in wanted if state in _known}
    missing = [state for state in wanted if state not in found]
    if missing:
        with _database() as database:
            found |= _kept(database, missing)
            missing = [state for state in missing if state not in found]
            if len(missing) > 1:
                with ThreadPoolExecutor(THREADS) as pool:
                    new = dict(zip(missing, pool.map(_sha256, missing), strict=True))
            else:
                new = {state: _sha256(state) for state in missing}
            _keep(database, {state: digest for state, digest in new.items() if _settled(state)})
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        _known.update({state: digest for state, digest in found.items() if _settled(state)})
        found |= new
    return found


def _sha256(state: State) -> str:
    path, size, *_ = state
    digest = hashlib.sha256()
    bar = tqdm(
        total=size, desc=f"digest of {Path(path).name}", unit="B", unit_scale=True, delay=5, leave=False,
        disable=size < SLOW, file=sys.stderr,
    )  # fmt: skip
    with bar, open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _settled(state: State) -> bool:
    """Return whether the file is as it was looked up, and has been so for longer than a tick of the clock."""
    path, _, mtime, ctime, _ = state
    try:
        unchanged = state_of(path) == state
    except FileNotFoundError:
        return False
    return unchanged and time.time_ns() - max(mtime, ctime) > FRESH_NS


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection | None]:
    """Open the database; None where there can be none, which costs time and changes no digest."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / DATABASE, timeout=30, isolation_level=None)
        database.execute("CREATE TABLE IF NOT EXISTS contents (state TEXT PRIMARY KEY, digest TEXT) WITHOUT ROWID")
    except (OSError, sqlite3.Error) as problem:
        _warn(problem)
        yield None
        return
    with contextlib.closing(database):
        yield database


def cache_folder() -> Path:
    """Return the folder of what this user has looked up once, in place of asking again."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "delamo"


def _kept(database: sqlite3.Connection | None, states: Sequence[State]) -> dict[State, str]:
    if database is None:
        return {}
    names = {_name(state): state for state in states}
    kept: dict[State, str] = {}
    try:
        for start in range(0, len(states), 500):  # SQLite takes a limited number of parameters
            part = list(names)[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = database.execute(f"SELECT state, digest FROM contents WHERE state IN ({marks})", part)
            kept |= {names[name]: digest for name, digest in rows}
    except sqlite3.Error as problem:
        _warn(problem)
    return kept


def _keep(database: sqlite3.Connection | None, digests: dict[State, str]) -> None:
    if database is None or not digests:
        return
    try:
        database.execute("BEGIN IMMEDIATE")
        rows = [(_name(state), digest) for state, digest in digests.items()]
        database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", rows)
        database.execute("COMMIT")
    except sqlite3.Error as problem:
        _warn(problem)


def _name(state: State) -> str:
    """Return the key of a state: a digest, so that the database holds no paths and takes 100 bytes a file."""
    return hashlib.sha256("\0".join(map(str, state)).encode("utf-8", "surrogateescape")).hexdigest()


def _warn(problem: Exception) -> None:
    print(f"digests of files are not kept ({problem}): {VARIABLE} names another folder for them", file=sys.stderr)
