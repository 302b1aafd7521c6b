"""What the plan takes as given; the values, and where they come from, are in `conf/plan.yaml`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING, OmegaConf

from delamo.paper.facts import FACTS

OmegaConf.register_new_resolver("of_paper", lambda name, key: FACTS[name]()[key], replace=True)


@dataclass(slots=True, kw_only=True)
class LanguageModel:
    """Widths of a language model's linear maps."""

    num_layers: int = MISSING
    hidden: int = MISSING
    key_value: int = MISSING
    """Width of keys and of values."""
    intermediate: int = MISSING
    projector: int = MISSING
    """Parameters of the projector from pictures to the language model."""


@dataclass(slots=True, kw_only=True)
class Assumptions:
    """Rates, lengths and timings; a name that a dict lacks is not known, unless there is a general value."""

    error_rate: float = MISSING
    num_steps: float = MISSING
    error_rates: dict[str, float] = MISSING
    steps: dict[str, float] = MISSING
    pool_sizes: dict[str, int] = MISSING
    test_sizes: dict[str, int] = MISSING
    question_chars: int = MISSING
    num_options: int = MISSING
    option_chars: int = MISSING
    step_chars: int = MISSING
    pool_question_chars: int = MISSING
    pool_answer_chars: int = MISSING
    skill_tokens: int = MISSING
    pool_skills_tokens: int = MISSING
    reference_tokens: int = MISSING
    tuning_seconds: dict[int, float] = MISSING
    """Samples -> seconds, as measured."""
    tuning_student: str = MISSING
    """The student that was measured."""
    tuning_gpus: int = MISSING
    language_models: dict[str, LanguageModel] = MISSING
    bytes_per_item: dict[str, float] = MISSING
    bytes_per_reply: int = MISSING
