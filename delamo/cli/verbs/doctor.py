"""delamo doctor [KEY=VALUE ...] [servers=true].

Say whether this environment can run what is asked; exit status 1 where it cannot.

Takes what `delamo run` takes and checks Python, packages, devices, disk and keys; servers=true also asks the servers
that are named.
"""

from __future__ import annotations

from delamo.cli.echo import show


def main(arguments: list[str]) -> None:
    """Print the findings. Raises SystemExit with status 1 where something would fail."""
    from delamo.cli.doctor import doctor

    text, good = doctor(arguments)
    show(text)
    if not good:
        raise SystemExit(1)
