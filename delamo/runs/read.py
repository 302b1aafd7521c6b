"""Read run directories. What is here is all that a report knows: no model, no store and no planted truth.

`metrics.json`, stable since schema version 1 (counts are samples, shares are fractions of 1, times are seconds):

    schema_version  1
    cell            task, student, teacher, pool, selector, budget (names), num_samples, seed, iterations
    test            n, correct, unparsed, accuracy = correct / n (an unparsed answer is not correct), wilson_low,
                    wilson_high; with circular evaluation an item is correct only in every rotation of its options,
                    and vanilla_accuracy is the share correct as first asked
    validation      null where the selector reads none, else n, correct, unparsed, errors (= samples that went on to
                    mistake identification), accuracy, steps = mean number of steps of the rationales in which a
                    mistake was looked for, or null
    selection       num_samples, reasons: {reason: count} (`retrieved`, `random`, `fill`, ...)
    planted         null without planted truth, else precision_at_n (share of the selection that needs a missing skill
                    of the target; null where nothing was selected), precision_any (any missing skill), mistake_step:
                    {accuracy, recall_at_3, n} or null, skill_agreement: {accuracy, n}, null where the teacher named no
                    missing skills, by_skill: {skill: {n, before, after, missing}} with test accuracies before and after
                    tuning; an item counts for one skill
    seconds         {stage: seconds}, as computed, also where the result was reused
    quarantined     {reason: count}
    leakage         {kind: pool samples} that overlap a validation or test sample and could not be selected; null where
                    the pool was not audited
    cost            {stage: {calls, prompt_tokens, completion_tokens, usd, cached}} of the stages that ask the teacher,
                    as recorded when they were computed; usd is null where a price is unknown, 0 for a local model; a
                    stage that experiments share stands in each

Beside it: `config.yaml` (resolved), `items.jsonl` (one `ItemScore` a test item), `selection.jsonl` (`Selected`),
`leaks.jsonl` (`Leak`), `stages.json` ({stage: {path, digest, seconds, reused, accounting, peak_memory_bytes,
disk_bytes}}; `NAME@2` in the second iteration), `quarantine.jsonl` (`Quarantined`), `status.json`, `manifest.json`,
`adapter/`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from delamo.config.conf import RENAMED
from delamo.metrics import statistics
from delamo.records import ItemScore, Leak, Quarantined
from delamo.selectors import none
from delamo.store import read_rows

SCHEMA_VERSION = 1
METRICS, STATUS, MANIFEST = "metrics.json", "status.json", "manifest.json"
DONE = "done"
PRETRAINED = none.SELECTOR.name
SECTIONS = ("cell", "test", "validation", "selection", "planted", "seconds", "quarantined")


@dataclass(frozen=True)
class Run:
    """One finished cell."""

    path: Path
    metrics: dict[str, Any]

    @property
    def cell(self) -> dict[str, Any]:
        """The names that place the run in a table."""
        return self.metrics["cell"]

    @property
    def is_pretrained(self) -> bool:
        """Whether nothing was tuned: the student as it was."""
        return self.cell["selector"] == PRETRAINED

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config with dotted keys; empty where the run directory has none."""
        import yaml

        path = self.path / "config.yaml"
        values = dict(_dotted(yaml.safe_load(path.read_text(encoding="utf-8")) or {})) if path.is_file() else {}
        return {RENAMED.get(key, key): value for key, value in values.items()}

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Stage name -> path, digest, seconds, reused."""
        path = self.path / "stages.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def ended(self) -> float:
        """When it was finished, in seconds since 1970: as its status says, which a copy of the folder keeps."""
        ended = json.loads((self.path / STATUS).read_text(encoding="utf-8")).get("ended")
        return (self.path / METRICS).stat().st_mtime if ended is None else ended

    @cached_property
    def scores(self) -> list[ItemScore]:
        """The test items.

        Raises:
            ValueError: `items.jsonl` is missing or damaged, or does not give the accuracy that `metrics.json` states.
        """
        path = self.path / "items.jsonl"
        if not path.is_file():
            raise ValueError(f"{self.path} has no items.jsonl: run the cell again with force=true")
        scores = read_rows(ItemScore, path)
        stated = self.metrics["test"]["accuracy"]
        if abs(statistics.accuracy(scores) - stated) > 1e-6:
            raise ValueError(
                f"{path} gives accuracy {statistics.accuracy(scores):.6f}, metrics.json states {stated:.6f}"
            )
        return scores

    @cached_property
    def outcomes(self) -> dict[str, bool]:
        """Test item id -> correct."""
        return statistics.outcomes(self.scores)

    def selected_ids(self) -> frozenset[str]:
        """Read what was selected in all iterations; empty where nothing was.

        Read anew at each call: many selections are large.
        """
        path = self.path / "selection.jsonl"
        if not path.is_file():
            return frozenset()
        with path.open(encoding="utf-8") as lines:
            return frozenset(json.loads(line)["id"] for line in lines)

    @cached_property
    def selection_digest(self) -> str:
        """Equal for runs that selected the same samples, in whatever order.

        For a run without a list of them its own.
        """
        from hashlib import sha256

        ids = self.selected_ids()
        return sha256("\n".join(sorted(ids)).encode()).hexdigest() if ids else str(self.path)

    @cached_property
    def quarantined(self) -> list[Quarantined]:
        """The rows that this cell could not use, of all stages."""
        path = self.path / "quarantine.jsonl"
        return read_rows(Quarantined, path) if path.is_file() else []

    @cached_property
    def leaks(self) -> list[Leak]:
        """The pool samples that overlap the task's."""
        path = self.path / "leaks.jsonl"
        return read_rows(Leak, path) if path.is_file() else []


@dataclass(frozen=True)
class Unfinished:
    """A directory that looks like a run and is not a finished one."""

    path: Path
    why: str


@dataclass(frozen=True)
class RunCollection:
    """All that lies under one folder of runs."""

    root: Path
    runs: list[Run]
    """Finished, ordered by task, budget, selector, seed and path."""
    unfinished: list[Unfinished]


def collect(root: Path) -> RunCollection:
    """Find the runs under `root`, at any depth; hidden folders are left out, and a run is not searched for runs.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"runs is {root}: no such folder; `delamo run` makes one, or say runs=DIR")
    folders = [read_run(path) for path in _run_folders(root)]
    runs = [folder for folder in folders if isinstance(folder, Run)]
    unfinished = [folder for folder in folders if isinstance(folder, Unfinished)]
    return RunCollection(root, sorted(runs, key=_order), unfinished)


def finished_runs(root: Path) -> RunCollection:
    """Find the runs under `root`, where there must be a finished one.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it holds no finished run; the unfinished ones are named.
    """
    collection = collect(root)
    if not collection.runs:
        others = "".join(f"\n  {folder.path}: {folder.why}" for folder in collection.unfinished)
        raise ValueError(f"no finished run under {root}: `delamo run` makes one, or say runs=DIR{others}")
    return collection


def open_run(path: Path) -> Run:
    """Read one finished run.

    Raises:
        ValueError: the directory holds no finished run.
    """
    run = read_run(path)
    if isinstance(run, Unfinished):
        raise ValueError(f"{path} is no finished run: {run.why}")
    return run


def read_run(path: Path) -> Run | Unfinished:
    """Read one run directory, or say why it is no finished run."""
    state = _state(path)
    if state not in (None, DONE):
        return Unfinished(path, f"status is {state!r}")
    try:
        metrics = json.loads((path / METRICS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Unfinished(path, f"no {METRICS}")
    except ValueError as problem:
        return Unfinished(path, f"{METRICS} is damaged: {problem}")
    version = metrics.get("schema_version") if isinstance(metrics, dict) else None
    if version != SCHEMA_VERSION:
        return Unfinished(path, f"{METRICS} has schema_version {version!r}, this delamo reads {SCHEMA_VERSION}")
    missing = [key for key in SECTIONS if key not in metrics]
    return Unfinished(path, f"{METRICS} lacks {', '.join(missing)}") if missing else Run(path, metrics)


def stage_kind(stage: Mapping[str, Any]) -> str:
    """Return the kind of an entry of `stages.json`, its folder in the store: the same in every round and role."""
    return Path(stage["path"]).parent.name


def with_measured(stage: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of `stages.json` with what the stage took.

    An older run did not record it: the store says it, where it still has the result.
    """
    manifest = Path(stage["path"]) / MANIFEST
    if "disk_bytes" in stage or not manifest.is_file():
        return stage
    return json.loads(manifest.read_text(encoding="utf-8")) | stage


def _run_folders(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        if not {METRICS, STATUS, MANIFEST}.isdisjoint(files):
            subfolders.clear()
            yield Path(folder)
        else:
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))


def _state(path: Path) -> str | None:
    try:
        return json.loads((path / STATUS).read_text(encoding="utf-8")).get("state")
    except FileNotFoundError:
        return None
    except ValueError:
        return "damaged"


def _order(run: Run) -> tuple[Any, ...]:
    cell = run.cell
    return cell["task"], cell["num_samples"] or 0, str(cell["budget"]), cell["selector"], cell["seed"], str(run.path)


def _dotted(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
