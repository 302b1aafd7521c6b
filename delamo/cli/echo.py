"""Helpers of several verbs: printing, and reading an id and a folder of runs from the arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def show(text: str, end: str = "\n") -> None:
    """Print text, and exit quietly where standard output has been closed, as by `delamo report | head`.

    Raises:
        SystemExit: standard output is closed. The status is a shell's for SIGPIPE; the signal itself stays ignored,
            because it would also end the program when a server drops a connection.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # Python flushes at exit and would report the closed pipe
        raise SystemExit(141) from None


def id_and_runs(form: str, arguments: Sequence[str]) -> tuple[str, str]:
    """Read an id and the folder of runs from a command line.

    Ids may hold any character, `=` too: only a leading `runs=` is an option.

    Args:
        form: how the verb is called, for the message.
        arguments: of the command line.

    Raises:
        ValueError: there is no id, or more than one.
    """
    ids = [argument for argument in arguments if not argument.startswith("runs=")]
    folders = [argument.removeprefix("runs=") for argument in arguments if argument.startswith("runs=")]
    if len(ids) != 1 or len(folders) > 1:
        raise ValueError(f"expected `delamo {form} [runs=DIR]`, got {' '.join(arguments) or 'no id'}")
    return ids[0], (folders or ["runs"])[0]
