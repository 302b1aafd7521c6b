"""What pictures and overlap tables call a method: its label in the tables, and the paper's words where a setting is one of its ablations."""

from __future__ import annotations

ABLATIONS = {
    "mistakes=whole_rationale": "without mistake identification",
    "skills=all_samples": "without error collection",
    "skills=mistake_steps": "without skill analysis",
}
"""The settings in `conf/ablation`, as the paper's Table 5 names them."""
WHOLE = ("mistakes=answer_switch", "skills=skill_analysis")
"""What the method itself has in their place."""


def short(label: str) -> str:
    """`error_driven (mistakes=answer_switch, skills=mistake_steps)` -> `error_driven without skill analysis`."""
    selector, _, settings = label.removesuffix(")").partition(" (")
    parts = [part for part in settings.split(", ") if part and part not in WHOLE]
    words = [ABLATIONS[part] for part in parts if part in ABLATIONS]
    others = [part for part in parts if part not in ABLATIONS]
    return " ".join([selector, *words, *([f"({', '.join(others)})"] if others else [])])


def is_ablation(label: str) -> bool:
    """Whether a part of the method is left out."""
    return any(part in label for part in ABLATIONS)
