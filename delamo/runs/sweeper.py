"""The sweeper behind `-m`: runs the union of several grids, where Hydra's own runs one.

A table of the paper is seldom one grid: the pretrained student has no budget, and only random selection is repeated
with other seeds. A preset in `conf/experiment` lists its grids; a cell that occurs in two of them runs once. The
command line narrows the grids: `experiment=table1 selector=random` is the part of the table about random selection.

    hydra:
      sweeper:
        grids:
          - {selector: none, task: "micro/a,micro/b"}
          - {selector: random, seed: "0,1,2", task: "micro/a,micro/b"}

Several processes can share a sweep: each goes through all cells and puts off those that another process is running.
`jobs=2` starts two on this machine; the same command on another GPU, or on another machine with the same folders, joins
in too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from delamo.store import BusyError, not_waiting

FAST, JOBS = "fast", "jobs"
PLUGINS = "hydra_plugins.delamo"
FINISHED_CELL_S = 3.0
"""Seconds that a finished cell takes at most; the first one takes longer where it reads a large pool."""
SEQUENTIAL_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""Hydra's default launcher, by name: Hydra imports its plugins a second time, so that comparing classes would fail."""
INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C."""


@dataclass
class GridSweeperConfig:
    """Config node of `GridSweeper`, the sweeper behind `-m`."""

    _target_: str = "hydra_plugins.delamo.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    """Swept in every grid, as in Hydra's own sweeper."""
    grids: list[dict[str, Any]] = field(default_factory=list)
    fast: dict[str, Any] = field(default_factory=dict)
    """Overrides that `fast=true` adds."""
    names: dict[str, Any] = field(default_factory=dict)
    """Values at the chosen scale, which grids refer to as `${hydra.sweeper.names.X}`."""


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConfig, provider="delamo")


class GridSweeper(Sweeper):
    """Runs the cells of all grids. A failed cell does not stop the sweep; the failed ones are listed at its end."""

    def __init__(
        self,
        params: dict[str, Any] | None = None,
        grids: Sequence[dict[str, Any]] = (),
        fast: dict[str, Any] | None = None,
        names: dict[str, Any] | None = None,
    ) -> None:
        self.params, self.grids, self.fast = dict(params or {}), [dict(grid) for grid in grids], dict(fast or {})
        self.launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra passes before it calls `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def cells(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the cells that the grids and the command line name, each as a list of overrides."""
        grids = [{**self.params, **grid} for grid in self.grids or [{}]]
        return cells_of(grids, self.parse(list(arguments)), self.parse, self.fast)

    def parse(self, lines: list[str]) -> list[Override]:
        """Parse override strings as Hydra does."""
        return OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(lines)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run every cell that the grids and the command line name.

        Raises:
            Exception: the error of the first failed cell, after all cells have run.
            SystemExit: the sweep was stopped.
        """
        from delamo.experiment.experiment import keep_data

        cells = self.cells(arguments)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        print(f"{len(cells)} cells", file=sys.stderr)
        jobs = _value(self.parse(list(arguments)), JOBS) or 1
        with keep_data(), resume_hint(), worker_processes(jobs - 1, folder):
            if self.config.hydra.launcher._target_ == SEQUENTIAL_LAUNCHER:
                logging.getLogger("hydra").setLevel(logging.WARNING)  # no line on stdout for each launch
                results = run_sequentially(cells, self._launch)
            else:  # a launcher that runs cells in parallel or elsewhere takes all of them at once
                results = list(self.launcher.launch(cells, initial_job_idx=0))
        failed = [index for index, result in enumerate(results) if result.status is not JobStatus.COMPLETED]
        if failed:
            lines = ["", f"{len(failed)} of {len(cells)} cells failed:", *(f"  {' '.join(cells[i])}" for i in failed)]
            print("\n".join(lines), file=sys.stderr)
            _ = results[failed[0]].return_value  # raises what that cell raised
        return results

    def _launch(self, cell: list[str], index: int) -> JobReturn:
        try:
            (result,) = self.launcher.launch([cell], initial_job_idx=index)
        except (HydraException, OmegaConfBaseException) as error:  # it does not compose
            print(f"delamo: {error}", file=sys.stderr)
            return JobReturn(overrides=cell, status=JobStatus.FAILED, _return_value=error)
        return result


def run_sequentially(
    cells: Sequence[list[str]],
    launch: Callable[[list[str], int], JobReturn],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[JobReturn]:
    """Run the cells one by one, whatever fails, and print the progress to stderr.

    A cell that another process is running is put off. Where all cells that are left are busy, the last of them is
    waited for, because the other processes are likely to go through them from the first on; then the rest is tried
    again.

    Args:
        cells: lists of overrides.
        launch: runs one cell, given its overrides and its index.
        clock: returns seconds.

    Returns:
        The result of each cell, in the order of `cells`.
    """
    results: dict[int, JobReturn] = {}
    durations: list[float] = []

    def run(index: int) -> bool:
        label = f"cell {index + 1} of {len(cells)}"
        overrides = " ".join(cells[index])
        left = time_left(durations, len(cells) - len(results))
        print(f"{label}{left}: {overrides}", file=sys.stderr, flush=True)
        started = clock()
        result = launch(cells[index], index)
        if isinstance(result._return_value, BusyError):
            print(f"put off, another process is at it: {result._return_value}", file=sys.stderr, flush=True)
            return False
        durations.append(clock() - started)
        if result.status is not JobStatus.COMPLETED:
            print(f"{label} FAILED: {overrides}", file=sys.stderr, flush=True)
        results[index] = result
        return True

    remaining = list(range(len(cells)))
    while remaining:
        with not_waiting():
            busy = [index for index in remaining if not run(index)]
        if len(busy) == len(remaining):
            run(busy.pop())
        remaining = busy
    return [results[index] for index in range(len(cells))]


@contextlib.contextmanager
def worker_processes(number: int, folder: Path) -> Iterator[None]:
    """Start processes that go through the same cells, and stop them at the end of the sweep.

    This process goes through all cells itself, so it sees every result and failure, and needs nothing from the others.

    Args:
        number: of processes besides this one.
        folder: for their output, `helper-N.log`.
    """
    if number < 1:
        yield
        return
    command = [*sys.orig_argv, f"{JOBS}=1"]
    with contextlib.ExitStack() as stack:
        processes = []
        for index in range(1, number + 1):
            log = stack.enter_context((folder / f"helper-{index}.log").open("w"))
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT))
        print(f"{number} more processes share the cells: {folder}/helper-*.log", file=sys.stderr)
        try:
            yield
        finally:
            for process in processes:  # no cell is left for them
                process.send_signal(signal.SIGINT)
            for process in processes:
                process.wait()


def time_left(durations: Sequence[float], num_left: int) -> str:
    """Format the time that is left as `, about N min left`; empty where no cell has been computed yet.

    Args:
        durations: seconds of each cell so far; those that were found finished are left out of the mean.
        num_left: number of cells that are left.
    """
    computed = [seconds for seconds in durations if seconds > FINISHED_CELL_S]
    if not computed:
        return ""
    minutes = sum(computed) / len(computed) * num_left / 60
    return f", about {minutes:,.0f} min left" if minutes >= 1 else ", less than a minute left"


@contextlib.contextmanager
def resume_hint() -> Iterator[None]:
    """Print how to resume a sweep that is stopped, by Ctrl-C or by the SystemExit with which Lightning ends a tuning.

    Raises:
        SystemExit: the sweep was stopped; the status is a shell's for SIGINT.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        print(
            "\nstopped: finished cells and stages are kept, and what was begun is resumed; to go on where this sweep "
            f"stood, run it again:\n  {shlex.join(['delamo', 'run', *sys.argv[1:]])}",
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None


def cells_of(
    grids: Sequence[dict[str, Any]],
    overrides: Sequence[Override],
    parse: Callable[[list[str]], list[Override]],
    fast: dict[str, Any] | None = None,
) -> list[list[str]]:
    """List every distinct combination of the grids' values, each as a list of overrides.

    Args:
        grids: key -> value or comma-separated values.
        overrides: from the command line. Values that some grid has choose among the grids; others replace the grids'
            values.
        parse: Hydra's parser of override strings.
        fast: overrides that `fast=true` on the command line adds.

    Raises:
        ValueError: an interval, or values of one key of which only some are in a grid.
    """
    is_fast = _value(overrides, FAST) is True
    requested = _choices([*(parse(_lines(fast or {})) if is_fast else []), *overrides])
    tables = [_choices(parse(_lines(grid))) for grid in grids]
    offered = {key: {value for table in tables for value in table.get(key, ())} for key in requested}
    for key, values in requested.items():
        unknown = [value for value in values if value not in offered[key]]
        if 0 < len(unknown) < len(values):
            known = ", ".join(value for value in values if value in offered[key])
            raise ValueError(f"{', '.join(unknown)} is in no grid of the preset, {known} is: sweep over them apart")
    cells: dict[frozenset[str], list[str]] = {}
    for table in tables:
        for key, values in requested.items():
            part = [value for value in values if value in table.get(key, values)]
            table[key] = part if offered[key].intersection(values) else values
        for cell in itertools.product(*table.values()):
            cells.setdefault(frozenset(cell), list(cell))
    return list(cells.values())


def _value(overrides: Sequence[Override], key: str) -> Any:
    """Return the last value that the overrides give a key; None where they do not name it."""
    values = [override.value() for override in overrides if override.get_key_element() == key]
    return values[-1] if values else None


def _lines(grid: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in grid.items()]


def _choices(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Return key -> overrides of one value each; a later override of a key replaces an earlier one."""
    return {override.get_key_element(): _values(override) for override in overrides}


def _values(override: Override) -> list[str]:
    """Return the override, or one override for each value that it sweeps over. Raises ValueError for an interval."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ValueError(f"{override.input_line} sweeps over an interval: give the values, as in {key}=a,b,c")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def register_sweepers(*sweepers: type[Sweeper]) -> None:
    """Make sweepers known to Hydra, which accepts plugins of the package `hydra_plugins` alone.

    A real package `hydra_plugins/delamo` would be imported by every Hydra program of the environment: it would take
    half a second of each start, and leave the schemas of this package in its config store. Here the names exist in this
    process only.
    """
    plugins = Plugins.instance()  # scans for installed plugins now, before the names below exist
    try:
        import hydra_plugins as package  # a namespace of other plugins, say of a launcher
    except ImportError:
        package = sys.modules["hydra_plugins"] = ModuleType("hydra_plugins")
    ours = sys.modules.setdefault(PLUGINS, ModuleType(PLUGINS))
    package.delamo = ours
    for sweeper in sweepers:
        setattr(ours, sweeper.__name__, sweeper)
        sweeper.__module__ = PLUGINS
        plugins.register(sweeper)
