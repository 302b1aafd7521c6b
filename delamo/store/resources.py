"""What a piece of work takes of the machine: memory at its peak, disk for what it leaves."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

CLEAR_PEAK = "5"
"""See proc(5), /proc/PID/clear_refs."""
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def forget_peak() -> bool:
    """Begin a new measurement of the process's peak memory.

    False where the system measures only the whole life of the process.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
        return True
    return False


def peak_memory() -> dict[str, int]:
    """Bytes at most since `forget_peak`: `host` resident in memory, models loaded before included.

    `device` allocated, on a GPU.
    """
    peak = {"host": _host_peak()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["device"] = torch.cuda.max_memory_allocated()
    return peak


def _host_peak() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


def disk_bytes(folder: Path, *, without: str = "") -> int:
    """Bytes of all files below `folder`, but for those below its subfolder `without`."""
    total = 0
    for parent, folders, names in os.walk(folder):
        if without in folders and Path(parent) == folder:
            folders.remove(without)
        total += sum((Path(parent) / name).stat().st_size for name in names)
    return total
