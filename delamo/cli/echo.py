"""What a verb prints."""

from __future__ import annotations

import os
import sys


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
