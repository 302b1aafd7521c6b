"""Locks between processes: one computes what several want, the others wait for it or come back later."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

_waits: ContextVar[bool] = ContextVar("waits", default=True)


class BusyError(Exception):
    """Another process holds the lock, and waiting for it is not wanted (see `not_waiting`)."""


@contextlib.contextmanager
def not_waiting() -> Iterator[None]:
    """Raise `BusyError` inside the block for a lock that another process holds.

    So that there is time for other work.
    """
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


@contextlib.contextmanager
def locked(path: Path, *, what: str = "") -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it; the system releases it when the process dies.

    Args:
        path: the lock file; its folder is made.
        what: names the work in a line on stderr, where another process is at it.

    Raises:
        BusyError: another process holds it, under `not_waiting`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not _waits.get():
            raise BusyError(what or str(path)) from None
        if what:
            print(f"{what}: another process is at it, waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
