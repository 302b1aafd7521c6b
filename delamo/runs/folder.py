"""A cell's run directory: its name, its status, and whether it has been run already.

`status.json` says `running`, `done` or `failed`. A lock is held while a cell runs, so a `running` that nobody holds is
a run that was killed, and the next attempt takes it over. Finished cells are found by the digest of their config.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delamo.config.compose import identity_of
from delamo.experiment.config import ExperimentConfig
from delamo.store import BusyError, digest_of, locked, slug, write_json
from delamo.store.provenance import provenance

STATUS = "status.json"
SCHEMA_VERSION = 1


class ChangedError(ValueError):
    """A finished run of the same config came from other code, weights or data."""


def config_digest(config: ExperimentConfig) -> str:
    """Digest of everything in the config that can change a result.

    Paths, logger, names and speed knobs are left out.
    """
    return digest_of(
        identity_of(config) | {"schema": "CellConfig"}
    )  # its first name: run directories made then are found


def run_folder(config: ExperimentConfig) -> Path:
    """`RUNS/TASK-STUDENT-SELECTOR-BUDGET-sSEED-DIGEST10`: readable, and one folder for one config."""
    names = [config.task.name, config.student.name, config.selector.name, config.budget.name, f"s{config.seed}"]
    return Path(config.paths.runs) / "-".join([*map(slug, names), config_digest(config)[:10]])


@dataclass(slots=True)
class Attempt:
    """One try at running a cell."""

    folder: Path
    config_digest: str
    previous: dict[str, Any]
    started: float = field(default_factory=time.time)
    result: str | None = None
    running: bool = False

    @property
    def number(self) -> int:
        """1 for the first attempt."""
        return len(self.earlier) + 1

    @property
    def earlier(self) -> list[dict[str, Any]]:
        """The attempts before this one, the oldest first; one that still says `running` was killed."""
        if not self.previous:
            return []
        last = {key: self.previous.get(key) for key in ("state", "reason", "started", "ended")}
        if last["state"] == "running":
            last["state"] = "killed"
        return [*self.previous.get("earlier", []), last]

    def begin(self, result: str, *, force: bool) -> bool:
        """Note that work starts now; False where a finished run of the same config, code and data is there.

        Args:
            result: digest of all that the cell's outcome follows from.
            force: run again although a finished run came from other code, weights or data.

        Raises:
            ChangedError: one did, and `force` is false.
        """
        if self.previous.get("state") == "done" and self.previous.get("result") == result:
            return False
        if self.previous.get("state") == "done" and not force:
            raise ChangedError(
                f"{self.folder} is finished, but from other code, weights or data than now: force=true runs it again "
                "in its place, "
                "paths.runs=DIR runs it elsewhere"
            )
        self.result, self.running = result, True
        self.write("running")
        return True

    def take_back(self) -> None:
        """Leave `status.json` as it was before this try."""
        if self.previous:
            write_json(self.folder / STATUS, self.previous)
        else:
            (self.folder / STATUS).unlink(missing_ok=True)

    def write(self, state: str, reason: str | None = None) -> None:
        """Write `status.json`; attempts before this one stay listed."""
        status = {
            "schema_version": SCHEMA_VERSION,
            "state": state,
            "reason": reason,
            "config": self.config_digest,
            "result": self.result,
            "started": self.started,
            "ended": None if state == "running" else time.time(),
            "earlier": self.earlier,
            **provenance(),
        }
        write_json(self.folder / STATUS, status)


@contextlib.contextmanager
def attempt(folder: Path, config: ExperimentConfig) -> Iterator[Attempt]:
    """Hold the run directory for one try; an exception ends in a `failed` status with its reason, and goes on.

    Where another process runs the same cell, wait for it: its result is then found. A cell that is put off was not
    tried.

    Raises:
        BusyError: another process runs the cell or computes a stage of it, under `not_waiting`.
    """
    with locked(folder / ".lock", what=str(folder)):
        this = Attempt(folder, config_digest(config), read_status(folder))
        try:
            yield this
        except BusyError:
            this.take_back()
            raise
        except BaseException as error:
            # A finished run is not marked as failed by a try that ended before it started.
            if this.running or this.previous.get("state") != "done":
                this.write("failed", f"{type(error).__name__}: {error}")
            raise
        if this.running:
            this.write("done")


def read_status(folder: Path) -> dict[str, Any]:
    """`status.json` of a run directory; empty where there is none."""
    path = folder / STATUS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
