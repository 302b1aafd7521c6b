"""The order of the paper's Table 1, in which tables and plots list methods and targets; what the paper does not have comes after."""

from __future__ import annotations

METHODS = ("none", "full_data", "validation_data", "random", "insta", "superfiltering")
LAST = "error_driven"
"""The paper's own method closes each of its tables."""
TARGETS = ("mmbench", "appliance", "furniture", "living_things", "vqa", "image_caption_match", "scienceqa")


def method_place(selector: str, label: str) -> tuple[int, str]:
    """Sort key of a method: the paper's baselines, other selectors by label, then error-driven and its variants."""
    if selector == LAST:
        return len(METHODS) + 1, label
    return METHODS.index(selector) if selector in METHODS else len(METHODS), label


def target_place(task: str) -> tuple[int, str]:
    """Sort key of a target: the paper's seven, then others by name."""
    return TARGETS.index(task) if task in TARGETS else len(TARGETS), task
