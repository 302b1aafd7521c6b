"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def delamo(*arguments: str, cwd: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    program = "import sys; from delamo.cli.app import main; sys.argv[0] = 'delamo'; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, check=False, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=environment()
    )


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
