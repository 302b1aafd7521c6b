"""How tests tune tiny models."""

from __future__ import annotations

RECIPE = {
    "lora_rank": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "learning_rate": 1e-2,
    "projector_learning_rate": None,
    "batch_size": 4,
    "micro_batch_size": 2,
    "epochs": 2,
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "max_length": None,
    "precision": "32",
    "gradient_checkpointing": False,
    "target_modules": "language_model",
    "resume": "auto",
    "num_workers": 0,
}
