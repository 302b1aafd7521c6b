"""Reads W&B's offline files: what `wandb sync` would send.

A file is a LevelDB log behind a header of seven bytes: blocks of 32 KiB, in them chunks of (checksum 4, length 2, kind
1) and data,
kinds full 1, first 2, middle 3, last 4; a whole record is one protobuf message.
"""

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

BLOCK, HEADER, FULL, LAST = 32 * 1024, 7, 1, 4


@dataclass
class OfflineRun:
    """One run as its file has it; nested keys joined by a slash."""

    folder: Path
    run: object = None
    config: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    artifacts: dict = field(default_factory=dict)
    exit_code: int | None = None
    """None where the run was never finished."""

    @property
    def last(self) -> dict:
        """Key -> the value logged last."""
        return {key: value for row in self.history for key, value in row.items()}

    def table(self, key: str) -> list[dict]:
        """The rows of a logged table, by column."""
        content = json.loads((self.folder / "files" / self.last[f"{key}/path"]).read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def read_runs(root: Path, patience_s: float = 60) -> list[OfflineRun]:
    """Every offline run below a folder, the oldest first.

    W&B's service closes a file shortly after the run's `finish`.
    """
    end = time.monotonic() + patience_s
    while True:
        runs = [read_run(path) for path in sorted(root.rglob("offline-run-*/run-*.wandb"))]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > end:
            return runs
        time.sleep(0.05)


def read_run(path: Path) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2 as messages

    found = OfflineRun(path.parent)
    for data in _records(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= _updates(record.run.config)
        elif kind == "config":
            found.config |= _updates(record.config)
        elif kind == "history":
            found.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "artifact":
            found.artifacts[record.artifact.name] = record.artifact
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            artifact = record.request.log_artifact.artifact
            found.artifacts[artifact.name] = artifact
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _updates(config) -> dict:
    return {_key(item): json.loads(item.value_json) for item in config.update}


def _key(item) -> str:
    return item.key or "/".join(item.nested_key)


def _records(data: bytes):
    assert data[:4] in (b":W&B", b""), "not an offline file of W&B"
    at, parts = HEADER, []
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if at + HEADER + length > len(data):
            return  # still being written
        parts.append(data[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
