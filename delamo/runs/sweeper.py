"""The sweeper behind `-m`: Hydra's own, for several grids at once.

One table of the paper is seldom one grid: the pretrained student has no budget, only random selection is repeated. A
preset in
`conf/experiment` lists its grids, and every cell that occurs in two of them is one cell. The command line narrows them:
`experiment=table1 selector=random` is the part of the table that is about random selection.

    hydra:
      sweeper:
        grids:
          - {selector: none, task: "micro/a,micro/b"}
          - {selector: random, seed: "0,1,2", task: "micro/a,micro/b"}

Processes share a sweep: each goes through all cells, and puts off those that another one is at. `jobs=2` starts two of
them here; the same
command given again, on another GPU or another machine with the same folders, helps too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
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
FOUND_S = 3.0
"""Seconds that a cell takes at most which is found finished; with a larger pool, the first one reads it."""
ONE_AFTER_THE_OTHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""Hydra's own launcher; its class cannot be asked for, since Hydra loads its plugins a second time."""
INTERRUPTED = 128 + 2
"""Exit code after Ctrl-C."""


@dataclass
class GridSweeperConfig:
    """Hydra's node of the sweeper behind `-m` (`GridSweeper`)."""

    _target_: str = "hydra_plugins.delamo.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    """Swept in every grid, as Hydra's own sweeper has it."""
    grids: list[dict[str, Any]] = field(default_factory=list)
    fast: dict[str, Any] = field(default_factory=dict)
    """What `fast=true` sets besides."""
    names: dict[str, Any] = field(default_factory=dict)
    """What `${hydra.sweeper.names.X}` in a grid stands for at the chosen scale."""


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConfig, provider="delamo")


class GridSweeper(Sweeper):
    """Runs the cells of all grids, to the end of the list whatever fails, and says at the end what failed."""

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
        """As Hydra calls it before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def cells(self, arguments: Sequence[str]) -> list[list[str]]:
        """The cells that the grids and the command line name, each as a list of overrides."""
        grids = [{**self.params, **grid} for grid in self.grids or [{}]]
        return cells_of(grids, self.parse(list(arguments)), self.parse, self.fast)

    def parse(self, lines: list[str]) -> list[Override]:
        """Hydra's parser of override strings."""
        return OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(lines)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run every cell that the grids and the command line name.

        Raises:
            Exception: that of the first cell that failed, after all have run.
            SystemExit: somebody stopped the sweep.
        """
        from delamo.experiment.experiment import keep_data

        cells = self.cells(arguments)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        print(f"{len(cells)} cells", file=sys.stderr)
        jobs = _value(self.parse(list(arguments)), JOBS) or 1
        with keep_data(), say_how_to_resume(), helpers(jobs - 1, folder):
            if self.config.hydra.launcher._target_ == ONE_AFTER_THE_OTHER:
                logging.getLogger("hydra").setLevel(logging.WARNING)  # each launch would be announced on stdout
                results = in_turn(cells, self._launch)
            else:  # one that runs cells side by side, or elsewhere, wants them all
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


def in_turn(
    cells: Sequence[list[str]],
    launch: Callable[[list[str], int], JobReturn],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[JobReturn]:
    """Run the cells one after the other, whatever fails, and say on stderr where the sweep stands.

    A cell that another process is at is put off. When it is so with all that are left, the last one is waited for, as
    the others
    are likely to go through them from the first on; then the rest is tried again.
    """
    results: dict[int, JobReturn] = {}
    took: list[float] = []

    def run(index: int) -> bool:
        left = time_left(took, len(cells) - len(results))
        print(f"cell {index + 1} of {len(cells)}{left}: {' '.join(cells[index])}", file=sys.stderr, flush=True)
        started = clock()
        result = launch(cells[index], index)
        if isinstance(result._return_value, BusyError):
            print(f"put off, another process is at it: {result._return_value}", file=sys.stderr, flush=True)
            return False
        took.append(clock() - started)
        if result.status is not JobStatus.COMPLETED:
            print(f"cell {index + 1} of {len(cells)} FAILED: {' '.join(cells[index])}", file=sys.stderr, flush=True)
        results[index] = result
        return True

    left = list(range(len(cells)))
    while left:
        with not_waiting():
            put_off = [index for index in left if not run(index)]
        if len(put_off) == len(left):
            run(put_off.pop())
        left = put_off
    return [results[index] for index in range(len(cells))]


@contextlib.contextmanager
def helpers(number: int, folder: Path) -> Iterator[None]:
    """Processes that go through the same cells meanwhile; what they say is in `folder`/helper-N.log.

    This process goes through all cells itself, so that it meets each result and each failure, and nothing is asked of
    the others.
    """
    if number < 1:
        yield
        return
    threads = max(1, (os.cpu_count() or 1) // (number + 1))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # torch is not imported yet
    command = [*sys.orig_argv, f"{JOBS}=1"]
    with contextlib.ExitStack() as stack:
        started = []
        for place in range(1, number + 1):
            log = stack.enter_context((folder / f"helper-{place}.log").open("w"))
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT))
        print(f"{number} more processes share the cells: {folder}/helper-*.log", file=sys.stderr)
        try:
            yield
        finally:
            for process in started:  # at the end of the list there is nothing left for them to do
                process.send_signal(signal.SIGINT)
            for process in started:
                process.wait()


def time_left(took: Sequence[float], num_left: int) -> str:
    """`, about N min left`, by the mean of the cells that were not found finished; empty where there is none yet.

    Args:
        took: seconds of the cells so far.
        num_left: cells that are left.
    """
    computed = [seconds for seconds in took if seconds > FOUND_S]
    if not computed:
        return ""
    minutes = sum(computed) / len(computed) * num_left / 60
    return f", about {minutes:,.0f} min left" if minutes >= 1 else ", less than a minute left"


@contextlib.contextmanager
def say_how_to_resume() -> Iterator[None]:
    """On Ctrl-C, which ends a tuning by SystemExit, a line that says what is kept.

    The exit code is a shell's for SIGINT.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        print(
            "\nstopped: finished cells and stages are kept, and what was begun is resumed; to go on where this sweep "
            "stood, "
            f"run it again:\n  {shlex.join(['delamo', 'run', *sys.argv[1:]])}",
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None


def cells_of(
    grids: Sequence[dict[str, Any]],
    given: Sequence[Override],
    parse: Callable[[list[str]], list[Override]],
    fast: dict[str, Any] | None = None,
) -> list[list[str]]:
    """Every distinct combination, each as a list of overrides.

    Args:
        grids: key -> value or comma-separated values.
        given: overrides from the command line. Values that some grid has choose among the grids; others replace theirs.
        parse: Hydra's parser of override strings.
        fast: what `fast=true` on the command line sets besides.
    """
    hurried = _value(given, FAST) is True
    wanted = _choices([*(parse(_lines(fast or {})) if hurried else []), *given])
    tables = [_choices(parse(_lines(grid))) for grid in grids]
    offered = {key: {value for table in tables for value in table.get(key, ())} for key in wanted}
    for key, values in wanted.items():
        unknown = [value for value in values if value not in offered[key]]
        if 0 < len(unknown) < len(values):
            known = ", ".join(value for value in values if value in offered[key])
            raise ValueError(f"{', '.join(unknown)} is in no grid of the preset, {known} is: sweep over them apart")
    cells: dict[frozenset[str], list[str]] = {}
    for table in tables:
        for key, values in wanted.items():
            part = [value for value in values if value in table.get(key, values)]
            table[key] = part if offered[key].intersection(values) else values
        for cell in itertools.product(*table.values()):
            cells.setdefault(frozenset(cell), list(cell))
    return list(cells.values())


def _value(given: Sequence[Override], key: str) -> Any:
    """What the command line says of a key that is about the sweep; None where it says nothing."""
    values = [override.value() for override in given if override.get_key_element() == key]
    return values[-1] if values else None


def _lines(grid: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in grid.items()]


def _choices(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Overrides as lists of single ones, by key; a later one replaces an earlier one."""
    return {override.get_key_element(): _values(override) for override in overrides}


def _values(override: Override) -> list[str]:
    """One override, or one for each value that it sweeps over."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ValueError(f"{override.input_line} sweeps over an interval: give the values, as in {key}=a,b,c")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def register(*sweepers: type[Sweeper]) -> None:
    """Make sweepers known to Hydra, which imports plugins by name from the package `hydra_plugins` alone."""
    plugins = Plugins.instance()  # looks for installed plugins now, before there may be a package of ours
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
