"""What a student thinks of given text: losses of replies, likelihoods of options, hidden states. No generation.

Legend of shapes: B rows of a batch, T tokens, S scored tokens of all rows together, V vocabulary, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from delamo.data.images import ImageError
from delamo.models.hf.chat import SampleError
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.components import base_of
from delamo.records import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch

SHAPED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Config fields of families that do more to hidden states than the head does."""


@dataclass(frozen=True, slots=True)
class ReplyScore:
    """How likely a reply is after its user turn."""

    log_likelihood: float
    """Sum over the reply's tokens, end of sequence included, in nats."""
    num_tokens: int

    @property
    def loss(self) -> float:
        """Mean over the tokens, in nats: what tuning minimises."""
        return -self.log_likelihood / self.num_tokens


def scored_logits(
    model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits (S, V) in float32, token ids (S,), row of each (S,)) of the tokens that `labels` (B, T) names.

    The vocabulary's logits, the largest tensor of a forward pass, are made for those tokens alone.
    """
    wanted = labels[:, 1:]
    scored = wanted != IGNORED
    base = base_of(model)
    if any(getattr(base.config.get_text_config(), name, None) for name in SHAPED_LOGITS):
        logits = base(**inputs, use_cache=False).logits[:, :-1][scored]
    else:
        hidden = base.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1][scored]
        logits = base.get_output_embeddings()(hidden)
    return logits.float(), wanted[scored], scored.nonzero()[:, 0]


def reply_scores(
    student: Any, samples: Sequence[Sample], *, batch_size: int
) -> Iterator[tuple[int, ReplyScore | SampleError | ImageError]]:
    """Yield (index, score of `sample.answer` after `sample.instruction` as it stands, or what made the sample unusable)."""
    import torch

    def score(batch: dict[str, torch.Tensor]) -> list[ReplyScore]:
        labels = batch.pop("labels")
        logits, tokens, rows = scored_logits(student.model, batch, labels)
        losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
        totals = torch.zeros(len(labels), dtype=torch.float64, device=losses.device).index_add(0, rows, losses.double())
        counts = torch.bincount(rows, minlength=len(labels))
        return [ReplyScore(-total, count) for total, count in zip(totals.tolist(), counts.tolist(), strict=True)]

    return by_batches(student, samples, batch_size, score)


def option_scores(
    student: Any, samples: Sequence[Sample], *, batch_size: int
) -> Iterator[tuple[int, list[ReplyScore] | SampleError | ImageError]]:
    """Yield (index, score of each option's text as the reply to the student's prompt), for samples with options."""
    rows = [
        (index, replace(sample, instruction=student.prompt(sample), answer=option, options=(), gold=None))
        for index, sample in enumerate(samples)
        for option in sample.options
    ]
    found: dict[int, list[tuple[int, Any]]] = {}
    for place, score in reply_scores(student, [row for _, row in rows], batch_size=batch_size):
        index = rows[place][0]
        found.setdefault(index, []).append((place, score))
        if len(found[index]) == len(samples[index].options):
            scores = [score for _, score in sorted(found.pop(index), key=lambda pair: pair[0])]
            error = next((score for score in scores if isinstance(score, Exception)), None)
            yield index, error or scores


def hidden_states(
    student: Any,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    layer: int = -1,
    pooling: str = "mean",
    with_answer: bool = True,
) -> Iterator[tuple[int, np.ndarray | SampleError | ImageError]]:
    """Yield (index, vector (D,) in float32, or what made the sample unusable).

    Args:
        layer: 0 is the embeddings, -1 the last layer after its norm.
        pooling: over a sample's tokens, image tokens included: `mean`; `last`; or `weighted`, where token i of T counts i / (1 + ... + T)
            as in RDS+ (Ivison et al. 2025, section 3).
        with_answer: read question and reply as in tuning; otherwise the question alone.
    """

    if pooling not in ("mean", "last", "weighted"):
        raise ValueError(f"pooling is {pooling}: choose mean, last or weighted")

    def pool(batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
        labels = batch.pop("labels")
        states = student.model.base_model(**batch, output_hidden_states=layer != -1)
        states = (states.last_hidden_state if layer == -1 else states.hidden_states[layer]).float()
        mask = batch["attention_mask"].bool()
        if not with_answer:
            mask = mask & (labels == IGNORED)
        weights = _weights(mask, pooling)
        return list((states * weights[..., None]).sum(dim=1).cpu().numpy())

    asked = [replace(sample, instruction=question_text(sample), options=(), gold=None) for sample in samples]
    return by_batches(student, asked, batch_size, pool)


def question_text(sample: Sample) -> str:
    """The user turn without any prompt's examples: a pool's instruction as it is, a task's question with its options."""
    from delamo.models.hf.identity import template
    from delamo.records import LETTERS

    return template("micro").render(question=sample.instruction, options=sample.options, letters=LETTERS)


def _weights(mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, T) of sum 1 in each row; padding is on the right."""
    place = mask.cumsum(dim=1) * mask
    if pooling == "last":
        return (place == mask.sum(dim=1, keepdim=True)).float() * mask
    weights = place.float() if pooling == "weighted" else mask.float()
    return weights / weights.sum(dim=1, keepdim=True)


def by_batches(
    student: Any,
    samples: Sequence[Sample],
    batch_size: int,
    work: Callable[[dict[str, torch.Tensor]], list[Any]],
    *,
    gradients: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (index, what `work` makes of the sample, or what made it unusable).

    `work` gets padded batches of tuning's form, longest texts first, pictured samples apart; without `gradients` in inference mode.
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
    student: Any, collator: Collator, samples: Sequence[Sample], batch: list[int], work: Any, gradients: bool
) -> Iterator[tuple[int, Any]]:
    """One batch; where it cannot be made or is too long, its rows one by one, to find whose fault it is."""
    import torch

    error: SampleError | ImageError | None = None
    try:
        inputs = collator([samples[i] for i in batch])
        length = inputs["input_ids"].shape[1]
        if length > student.max_length:
            error = SampleError("too long", f"{length} tokens with its picture, the limit is {student.max_length}")
    except (SampleError, ImageError) as caught:
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
    """Tensors where the model is, pixels in its number format."""
    return {
        key: value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)
        for key, value in inputs.items()
    }
