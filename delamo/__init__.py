"""Error-driven data selection for tuning multimodal models: answer, find the mistake, name the skill, retrieve, tune."""

__version__ = "0.1.0"
