"""Several processes for one tuning run, started as `torchrun --nproc-per-node=8 --no-python delamo run ...`.

Rank 0 runs the pipeline, and it alone writes results. The other ranks are workers: they wait for tuning jobs, each a
file whose path rank 0 puts into the processes' common store, and train on their share of the batches. So a whole sweep
is one torchrun, and no two processes can disagree about a folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from delamo.tuning.config import Strategy

JOB_KEY, END_KEY = "delamo/job/{}", "delamo/end"
POLL_S = 0.2
COMMAND = "torchrun --standalone --nproc-per-node=GPUS --no-python delamo run ..."


def world_size() -> int:
    """Return the number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_world_size() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size()))) if world_size() > 1 else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def device(requested: str) -> str:
    """Return the device of this process: its own GPU where there are several processes, else the requested one."""
    import torch

    if world_size() == 1 or requested == "cpu" or not torch.cuda.is_available():
        return "cpu" if world_size() > 1 else requested
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def check_launch(strategy: Strategy, launcher: str | None = None) -> None:
    """Refuse a strategy for several processes in a single one, and several under a launcher that starts its own.

    Args:
        strategy: `tuning.strategy`.
        launcher: Hydra's, in a sweep.

    Raises:
        ValueError: the two do not go together; names the command to use.
    """
    if strategy is not Strategy.auto and world_size() == 1:
        raise ValueError(
            f"tuning.strategy is {strategy.value}, and this is one process: start it as {COMMAND} "
            "(with -m, once for the whole sweep)"
        )
    if world_size() > 1 and launcher is not None and "basic_launcher" not in launcher.lower():
        raise ValueError(
            f"hydra/launcher is {launcher}: its processes would each believe to be the first of {world_size()}; "
            f"use hydra/launcher=basic under torchrun: {COMMAND}"
        )


@cache
def _store() -> Any:
    from torch.distributed import rendezvous

    return next(iter(rendezvous("env://")))[0]


def init_process_group(timeout_s: float, device: str) -> None:
    """Make the process group, once; a collective that waits longer than `timeout_s` fails instead of hanging."""
    import torch.distributed as dist

    if dist.is_initialized():
        return
    dist.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo",
        store=dist.PrefixStore("delamo/group", _store()),
        rank=rank(),
        world_size=world_size(),
        timeout=timedelta(seconds=timeout_s),
    )


_num_jobs = 0  # sent, or received in a worker; numbers the keys in the store


def send_job(job: dict[str, Any], folder: Path) -> None:
    """Send a job to the workers.

    Args:
        job: JSON values.
        folder: where the job is left as a file until the next one.
    """
    global _num_jobs
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    _store().set(JOB_KEY.format(_num_jobs), str(path.absolute()))
    _num_jobs += 1


def receive_jobs() -> Iterator[dict[str, Any]]:
    """Wait for jobs and yield each, until rank 0 stops the workers."""
    global _num_jobs
    while True:
        key = JOB_KEY.format(_num_jobs)
        if _store().check([key]):
            _num_jobs += 1
            yield json.loads(Path(_store().get(key).decode()).read_text(encoding="utf-8"))
        elif _store().check([END_KEY]):
            return
        else:
            time.sleep(POLL_S)


def stop_workers() -> None:
    """Let the workers end after their last job."""
    if world_size() > 1 and rank() == 0:
        _store().set(END_KEY, "1")
