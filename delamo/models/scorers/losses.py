"""A student's forward pass over given text: logits of replies, hidden states. Nothing is generated.

Legend of shapes: B rows of a batch, T tokens, S scored tokens of all rows together, V vocabulary, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from delamo.data.quarantine import UnusableError
from delamo.models import prompts
from delamo.models.hf.chat import SampleError
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.components import base_of
from delamo.models.hf.head import logits_at
from delamo.records import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch

    from delamo.models.students.local import Student


def scored_logits(
    model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the logits of the tokens that `labels` names.

    The vocabulary's logits, the largest tensor of a forward pass, are made for those tokens alone.

    Args:
        model: with or without an adapter.
        inputs: of the model.
        labels: (B, T), IGNORED where a token is not scored.

    Returns:
        (logits (S, V) in float32, token ids (S,), row of each token (S,)).
    """
    targets = labels[:, 1:]
    scored = targets != IGNORED
    rows, positions = scored.nonzero(as_tuple=True)
    return logits_at(base_of(model), inputs, rows, positions), targets[scored], rows


def hidden_states(
    student: Student, samples: Sequence[Sample], *, layer: int, pooling: str, batch_size: int
) -> Iterator[tuple[int, np.ndarray | UnusableError]]:
    """Yield (index, vector (D,) in float32 of question and reply, or what made the sample unusable).

    Args:
        student: whose hidden states are read.
        samples: to read.
        layer: 0 is the embeddings, -1 the last layer after its norm.
        pooling: over a sample's tokens, image tokens included: `mean`; `last`; or `weighted`, where token i of T counts
            i / (1 + ... + T) as in RDS+ (Ivison et al. 2025, section 3).
        batch_size: samples of a forward pass.

    Raises:
        ValueError: no such pooling.
    """
    if pooling not in ("mean", "last", "weighted"):
        raise ValueError(f"pooling is {pooling}: choose mean, last or weighted")

    def pool(batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
        batch.pop("labels")
        states = student.model.base_model(**batch, output_hidden_states=layer != -1)
        states = (states.last_hidden_state if layer == -1 else states.hidden_states[layer]).float()
        weights = _weights(batch["attention_mask"].bool(), pooling)
        return list((states * weights[..., None]).sum(dim=1).cpu().numpy())

    questions = [replace(sample, instruction=question_text(sample), options=(), gold=None) for sample in samples]
    return by_batches(student, questions, batch_size, pool)


def question_text(sample: Sample) -> str:
    """Return the user turn without a prompt's examples: a pool's instruction, or a task's question with its options."""
    return prompts.question(prompts.QUESTION, sample)


def _weights(mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Weigh the tokens of each row: (B, T) of sum 1; padding is on the right."""
    position = mask.cumsum(dim=1) * mask
    if pooling == "last":
        return (position == mask.sum(dim=1, keepdim=True)).float() * mask
    weights = position.float() if pooling == "weighted" else mask.float()
    return weights / weights.sum(dim=1, keepdim=True)


def by_batches(
    student: Student,
    samples: Sequence[Sample],
    batch_size: int,
    work: Callable[[dict[str, torch.Tensor]], list[Any]],
    *,
    gradients: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result of `work` for the sample, or what made it unusable).

    Args:
        student: whose processor makes the batches.
        samples: to work on, longest texts first, those with and without an image apart.
        batch_size: samples of a batch.
        work: a padded batch, as in tuning -> one result for each row.
        gradients: whether `work` needs them; else it runs in inference mode.
    """
    texts = [f"{sample.instruction}{sample.answer}" for sample in samples]
    lengths = student.text_lengths(texts)
    order = sorted(range(len(samples)), key=lambda i: (samples[i].image is None, -lengths[i], i))
    collator = Collator(student.processor, student.max_image_pixels)
    start = 0
    while start < len(order):
        batch = order[start : start + batch_size]
        batch = [i for i in batch if (samples[i].image is None) is (samples[batch[0]].image is None)]
        start += len(batch)
        yield from _work(student, collator, samples, batch, work, gradients)


def _work(
    student: Student,
    collator: Collator,
    samples: Sequence[Sample],
    batch: list[int],
    work: Callable[[dict[str, torch.Tensor]], list[Any]],
    gradients: bool,
) -> Iterator[tuple[int, Any]]:
    """Work on one batch; where it cannot be made or is too long, on its rows one by one, to find whose fault it is."""
    import torch

    error: UnusableError | None = None
    try:
        inputs = collator([samples[i] for i in batch])
        length = inputs["input_ids"].shape[1]
        if length > student.max_length:
            error = SampleError("too long", f"{length} tokens with its image, the limit is {student.max_length}")
    except UnusableError as caught:
        error = caught
    if error is None:
        with torch.inference_mode(not gradients):
            yield from zip(batch, work(on_device(inputs, student.model)), strict=True)
    elif len(batch) == 1:
        yield batch[0], error
    else:
        for i in batch:
            yield from _work(student, collator, samples, [i], work, gradients)


def on_device(inputs: dict[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Move tensors to the model's device, pixels to its number format."""
    return {
        key: value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)
        for key, value in inputs.items()
    }
