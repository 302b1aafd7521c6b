"""Several processes for one tuning run, as torchrun starts them: `torchrun --nproc-per-node=8 --no-python delamo run ...`.

The first process runs the pipeline, alone; it alone writes results. The others wait for tuning jobs, which reach them as a file
whose path it puts into the processes' common store, and take their share of the batches. So a whole sweep is one torchrun, and no
two processes can disagree about a folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

JOB, END = "delamo/job/{}", "delamo/end"
POLL_S = 0.2
COMMAND = "torchrun --standalone --nproc-per-node=GPUS --no-python delamo run ..."


def size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_size() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(size()))) if size() > 1 else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def device(wanted: str) -> str:
    """The device of this process: its own GPU where there are several processes."""
    import torch

    if size() == 1 or wanted == "cpu" or not torch.cuda.is_available():
        return "cpu" if size() > 1 else wanted
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def check_launch(strategy: str, launcher: str | None = None) -> None:
    """Refuse a strategy for several processes in a single one, and several processes under a launcher that makes its own.

    Args:
        strategy: `tuning.strategy`.
        launcher: Hydra's, in a sweep.

    Raises:
        ValueError: naming the command to use.
    """
    if strategy in ("ddp", "fsdp") and size() == 1:
        raise ValueError(
            f"tuning.strategy is {strategy}, and this is one process: start it as {COMMAND} (with -m, once for the whole sweep)"
        )
    if size() > 1 and launcher is not None and "basic_launcher" not in launcher.lower():
        raise ValueError(
            f"hydra/launcher is {launcher}: its processes would each believe to be the first of {size()}; "
            f"use hydra/launcher=basic under torchrun: {COMMAND}"
        )


@cache
def _store() -> Any:
    from torch.distributed import rendezvous

    return next(iter(rendezvous("env://")))[0]


def join(timeout_s: float, device: str) -> None:
    """Make the process group; a collective that waits longer than `timeout_s` fails instead of hanging."""
    import torch.distributed as dist

    if dist.is_initialized():
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    group = dist.PrefixStore("delamo/group", _store())
    dist.init_process_group(backend, store=group, rank=rank(), world_size=size(), timeout=timedelta(seconds=timeout_s))


_num_jobs = 0


def announce(job: dict[str, Any], folder: Path) -> None:
    """Send a job to the other processes: JSON values, left as a file in `folder` until the next one."""
    global _num_jobs
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    _store().set(JOB.format(_num_jobs), str(path.absolute()))
    _num_jobs += 1


def follow(run: Callable[[dict[str, Any]], None]) -> None:
    """Wait for jobs and run each, until the first process is done."""
    global _num_jobs
    while True:
        key = JOB.format(_num_jobs)
        if _store().check([key]):
            _num_jobs += 1
            run(json.loads(Path(_store().get(key).decode()).read_text(encoding="utf-8")))
        elif _store().check([END]):
            return
        else:
            time.sleep(POLL_S)


def dismiss() -> None:
    """Let the other processes go."""
    if size() > 1 and rank() == 0:
        _store().set(END, "1")
