"""Pool samples as training examples: tokens, picture, and a loss on the reply alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from delamo.data.images import open_image
from delamo.models.chat import SampleError, adds_special_tokens, example_texts
from delamo.records import Sample

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label of a token without loss


@dataclass(frozen=True, slots=True)
class Collator:
    """Samples to a padded batch; pictures are decoded here, when their batch comes."""

    processor: Any

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Every tensor that the processor returns, padded on the right, and `labels` of the shape of `input_ids`.

        Raises:
            SampleError, ImageError: a sample that this model cannot take; the pre-flight finds these first.
        """
        rows = [example_texts(self.processor, s.instruction, s.answer, has_image=s.image is not None) for s in samples]
        pictures = [open_image(sample.image) for sample in samples if sample.image is not None]
        batch = self.processor(
            text=[prompt + reply for prompt, reply in rows],
            images=pictures or None,
            padding=True,
            padding_side="right",
            add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
            return_tensors="pt",
        )
        batch["labels"] = self._labels(batch, [reply for _, reply in rows])
        return dict(batch)

    def _labels(self, batch: Any, replies: list[str]) -> torch.Tensor:
        """The reply's own tokens, end of sequence included; everything before it is ignored."""
        import torch

        labels = torch.full_like(batch["input_ids"], IGNORED)
        ends = batch["attention_mask"].sum(dim=1).tolist()
        wanted = self.processor.tokenizer(replies, add_special_tokens=False).input_ids
        for row, (end, tokens) in enumerate(zip(ends, wanted, strict=True)):
            start = end - len(tokens)
            if batch["input_ids"][row, start:end].tolist() != tokens:
                raise SampleError("reply not found", "the tokenizer merges the end of the prompt with the reply")
            labels[row, start:end] = batch["input_ids"][row, start:end]
        return labels
