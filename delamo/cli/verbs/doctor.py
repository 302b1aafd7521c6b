"""delamo doctor [KEY=VALUE ...] [servers=true].

Say whether this environment can run what is asked; exit status 1 where it cannot.

Takes what `delamo run` takes and says whether Python, packages, devices, disk and keys will do; servers=true asks the
servers that are
named, too.
"""

from __future__ import annotations

from delamo.cli.echo import show


def main(arguments: list[str]) -> None:
    """Print the findings. Raises SystemExit where something would fail."""
    from delamo.cli.doctor import doctor

    text, good = doctor(arguments)
    show(text)
    if not good:
        raise SystemExit(1)
