"""Error-driven, data-efficient tuning of multimodal models.

Find the reasoning step at which a student model goes wrong, name the skill it lacks, and tune it on exactly N samples
that train that skill; then see, against honest baselines, what that bought. The functions below are the public Python
API (`delamo.api`); nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from delamo.api import Records, Report, Run, compose, load_runs, load_student, parse_answer, report, run

__all__ = [
    "Records",
    "Report",
    "Run",
    "__version__",
    "compose",
    "load_runs",
    "load_student",
    "parse_answer",
    "report",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'delamo' has no attribute {name!r}")
    from delamo import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
