"""Weights sharded over several processes (FSDP2; Zhao et al. 2023), for models that do not fit on one device."""

from __future__ import annotations

from typing import Any

from delamo.models.hf.components import base_of


def shard_model(model: Any, mesh: Any) -> None:
    """Shard the language model's layers one by one, the rest of the body together, and the head.

    The head is a unit of its own, since tuning calls it for the reply's tokens alone. Body and head stay whole between
    forward and backward pass, so that a projector that saw no image can be given a gradient of zero.

    Raises:
        ValueError: head and input embeddings are one matrix, which cannot be in two units.
    """
    from torch.distributed.fsdp import fully_shard

    base = base_of(model)
    head = base.get_output_embeddings()
    if head.weight is base.get_input_embeddings().weight:
        raise ValueError("tuning.strategy is fsdp: this model's input and output embeddings are one matrix; use ddp")
    for layer in base.get_decoder().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(base.base_model, mesh=mesh, reshard_after_forward=False)
    fully_shard(head, mesh=mesh, reshard_after_forward=False)


def gather_weights(model: Any) -> dict[str, Any]:
    """Gather all weights, whole, on rank 0; a collective, so every process calls it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
