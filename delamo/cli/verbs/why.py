"""delamo why POOL_ID [runs=DIR].

Say which error, step, skill, score and rank brought this pool sample in.
"""

from __future__ import annotations

from delamo.cli.echo import id_and_runs, show


def main(arguments: list[str]) -> None:
    """Look the sample up in the finished runs below a folder."""
    from delamo.reports.trace import why

    show(why(*id_and_runs("why POOL_ID", arguments)))
