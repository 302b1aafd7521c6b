"""Open a W&B run as a context manager: it is always finished, and says whether what it recorded succeeded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.config.secrets import flatten, refuse_keys
from delamo.store import slug

if TYPE_CHECKING:
    import wandb

    from delamo.experiment.config import WandbLoggerConfig

MAX_ROWS = 10_000
"""Of a table: what W&B's browser shows of one. The artifact beside it has all rows."""
LONGEST_TAG = 64  # characters that W&B takes


@contextlib.contextmanager
def open_run(
    settings: WandbLoggerConfig,
    folder: Path,
    *,
    name: str,
    job_type: str,
    group: str,
    tags: Sequence[str] = (),
    config: Mapping[str, Any],
    id: str | None = None,
) -> Iterator[wandb.Run]:
    """Open a run that ends as finished, or as failed (exit code 1) where the block ends in an exception.

    Args:
        settings: of the logger.
        folder: where W&B makes its folder `wandb`.
        name: of the run.
        job_type: `cell` or `comparison`.
        group: what `settings.group` is where that is null.
        tags: cut to the length that W&B takes.
        config: recorded with the run.
        id: of the run, unique in the project; None draws one.

    Raises:
        SecretInConfigError: the config holds what looks like a key.
        ValueError: no run could be opened, say for want of an account.
    """
    refuse_keys(flatten(dict(config)))
    folder.mkdir(parents=True, exist_ok=True)
    run = _init(
        settings,
        group=settings.group or group,
        job_type=job_type,
        name=name,
        id=id,
        tags=[tag[:LONGEST_TAG] for tag in tags],
        dir=str(folder),
        config=dict(config),
    )
    exit_code = 1
    try:
        yield run
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def _init(settings: WandbLoggerConfig, **options: Any) -> wandb.Run:
    import wandb

    try:
        return wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode.value,
            # Without an end to the earlier run, a second one of the same process would join it and lose its config.
            reinit="finish_previous",
            # A remote's address can hold a password, and the manifest says which commit ran.
            settings=wandb.Settings(disable_git=True, save_code=False, quiet=True),
            **options,
        )
    except wandb.Error as error:
        raise ValueError(
            f"logger=wandb opened no run in project {settings.project}, mode {settings.mode.value}: {error} "
            "Without an account, logger.mode=offline writes files that `wandb sync` sends later"
        ) from error


def accuracy_key(student: str, task: str, budget: str | None) -> str:
    """Return the metric of a cell's accuracy, for bars by selector.

    `budget` is None for a selector that no budget limits.
    """
    return "/".join(["accuracy", *map(slug, (student, task, budget or "any_budget"))])


def curve_key(student: str, pool: str, task: str, method: str) -> str:
    """Return the metric of a method's accuracy over budgets, in the run of a comparison."""
    return "/".join(["curve", *map(slug, (student, pool, task, method))])
