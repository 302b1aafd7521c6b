"""delamo trace VAL_ID [runs=DIR].

Show one validation sample: rationale, step probabilities, mistake, skill, hits, and what became of it.
"""

from __future__ import annotations

from delamo.cli.echo import id_and_runs, show


def main(arguments: list[str]) -> None:
    """Look the sample up in the finished runs below a folder."""
    from delamo.reports.trace import trace

    show(trace(*id_and_runs("trace VAL_ID", arguments)))
