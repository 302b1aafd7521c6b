"""What verbs share: printing, and an id with a folder of runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def show(text: str, end: str = "\n") -> None:
    """Print; where the reader has had enough (`delamo report | head`), end as quietly as any Unix tool.

    Raises:
        SystemExit: nobody reads standard output any more. The status is a shell's for SIGPIPE; the signal itself stays
            ignored, because a connection that a server drops would end the program by it, too.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes at exit, and complains
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
