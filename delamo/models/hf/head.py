"""Logits at chosen positions by the model's own forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def logits_at(model: Any, inputs: dict[str, torch.Tensor], rows: Any, positions: Any) -> torch.Tensor:
    """Compute the logits at S chosen positions alone: the vocabulary's logits are the largest tensor of a pass.

    Families do more to hidden states than the head does: Granite and Cohere scale logits, Gemma caps them. So the head
    is not called by hand: the model runs as it is, and what its head is given is cut down to the chosen positions.

    Args:
        model: a causal language model, or one for images and text, without an adapter's wrapper.
        inputs: of its forward pass, (batch, length).
        rows: S indices into the batch.
        positions: S indices into the length.

    Returns:
        (S, vocabulary), in float32.

    Raises:
        ValueError: the model does not take its logits from its output embeddings.
    """

    def choose(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (given[0][rows, positions][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    if logits.shape[:2] != (1, len(rows)):
        raise ValueError(f"{type(model).__name__} made logits {tuple(logits.shape)} of {len(rows)} positions")
    return logits[0].float()
