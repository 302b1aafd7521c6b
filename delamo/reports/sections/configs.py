"""The configs of the runs on a page, without repetition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.reports.render.formats import Heading, Lines, Table
from delamo.reports.render.html import Folded, PageBlock
from delamo.runs.read import Run

NOTE = "A run is made again by its config.yaml, which has all of them: delamo run KEY=VALUE ..."


def config_blocks(runs: Sequence[Run]) -> list[PageBlock]:
    """Show the settings that all runs share, and for each run those that set it apart."""
    configs = {str(run.path): {key: _text(value) for key, value in run.config.items()} for run in runs}
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    if not keys:
        return []
    values = {key: {config.get(key) for config in configs.values()} for key in keys}
    shared = [key for key in keys if len(values[key]) == 1]
    apart = [key for key in keys if len(values[key]) > 1]
    first = next(iter(configs.values()))
    rows = [[path, ", ".join(f"{k}={config[k]}" for k in apart if k in config)] for path, config in configs.items()]
    return [
        Heading("Configs"),
        Folded(f"{len(shared)} settings that all {len(runs)} runs share", [f"{key}: {first[key]}" for key in shared]),
        Table(["run directory", "settings that not all share"], rows, num_text=2),
        Lines([NOTE]),
    ]


def _text(value: Any) -> str:
    """Write a value as YAML does."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
