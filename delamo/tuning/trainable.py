"""The weights that are trained, and how they are saved: a LoRA adapter, or the trained weights themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from delamo.models.hf.adapter import (
    check_adapter,
    check_keys,
    full_parameters,
    holds_full_weights,
    load_adapter,
    load_full,
    name_base,
    save_full,
)
from delamo.models.hf.components import language_linears, projectors
from delamo.tuning.config import Strategy, TuningConfig, TuningMethod


def make_trainable(model: Any, start_from: Path | None, config: TuningConfig) -> Any:
    """Return the model with exactly the parameters trainable that the config names.

    Args:
        model: the student; changed in place.
        start_from: an adapter to continue; None starts a new one.
        config: Method, modules and sizes.

    Raises:
        ValueError: no module matches, a matching one shares its weights with another, or `start_from` is of another
            method.
    """
    full = config.method is TuningMethod.full
    if start_from is not None and holds_full_weights(start_from) != full:
        raise ValueError(
            f"tuning.method is {config.method.value}, and {start_from} was made by another: use one for all iterations"
        )
    tuned = _with_full_weights(model, start_from) if full else _with_lora(model, start_from, config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # small updates are lost in 16 bits
    # with shards too, so that the layers' gradients come in the same order on every process
    if config.gradient_checkpointing or config.strategy is Strategy.fsdp:
        tuned.enable_input_require_grads()
    if config.gradient_checkpointing:
        tuned.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return tuned.train()


def _with_full_weights(model: Any, start_from: Path | None) -> Any:
    """Train language model and projector, the vision tower frozen (LLaVA's second stage)."""
    if start_from is not None:
        load_full(model, start_from)
    trained = full_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in trained
    return model


def _with_lora(model: Any, start_from: Path | None, config: TuningConfig) -> Any:
    """Train an adapter and, where it has a learning rate, the projector."""
    from peft import LoraConfig, get_peft_model

    if config.method is TuningMethod.qlora:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if start_from is not None:
        tuned = load_adapter(model, start_from)
        for name, parameter in tuned.named_parameters():
            parameter.requires_grad = "lora_" in name or "modules_to_save" in name
        return tuned
    targets = language_linears(model) if config.target_modules == "language_model" else config.target_modules
    _refuse_tied(model, targets)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        modules_to_save=projectors(model) if config.projector_learning_rate is not None else None,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise ValueError(f"tuning.target_modules is {config.target_modules}: {error}") from error


def _refuse_tied(model: Any, targets: str) -> None:
    """Raise ValueError where a target shares its matrix with another module, which would then change too."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not embeddings.weight:
        return
    pair = (head, embeddings)
    tied = [name for name, module in model.named_modules() if module in pair and re.fullmatch(targets, name)]
    if tied:
        raise ValueError(
            f"tuning.target_modules matches {tied[0]}: input and output embeddings are one matrix here, leave it out"
        )


def save_trained(
    model: Any, out_dir: Path, base: str, config: TuningConfig, weights: dict[str, Any] | None = None
) -> None:
    """Write what was trained, and read it back to check it.

    Args:
        model: the tuned student.
        out_dir: where the files go.
        base: the student's name as its user gave it.
        config: of the tuning.
        weights: the model's, where it holds only a shard of them.
    """
    if config.method is TuningMethod.full:
        save_full(model, out_dir, base, weights)
        return
    model.save_pretrained(out_dir, save_embedding_layers=False, state_dict=weights)
    (out_dir / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    name_base(out_dir, base)
    check_adapter(out_dir)
    check_keys(model, out_dir)
