"""Samples as training batches: tokens, images, and a loss on the reply alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from delamo.models.hf.chat import SampleError, adds_special_tokens, example_texts
from delamo.models.hf.processors import check_batch
from delamo.models.images import load_image
from delamo.records import Sample

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label of a token without loss


def images_by_row(images: Sequence[Any]) -> list[list[Any]] | None:
    """Arrange images as every processor takes them.

    Returns:
        One list for each row, empty where it has no image; None where no row has one.
    """
    rows = [[] if image is None else [image] for image in images]
    return rows if any(rows) else None


@dataclass(frozen=True, slots=True)
class Collator:
    """Make padded batches of samples; images are decoded here, when their batch comes."""

    processor: Any
    max_image_pixels: int | None
    """Larger images are made smaller; None leaves them as they are."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Return every tensor that the processor makes, padded on the right, and `labels` of the shape of `input_ids`.

        Raises:
            SampleError: a sample that this model cannot take; tuning looks for these before its first step.
            ImageError: an image that cannot be read.
        """
        rows = [example_texts(self.processor, s.instruction, s.answer, has_image=s.image is not None) for s in samples]
        images = [load_image(sample.image, self.max_image_pixels) for sample in samples]
        batch = self._encode(rows, images)
        batch["labels"] = self._labels(batch, rows)
        return dict(batch)

    def _encode(self, rows: list[tuple[str, str]], images: list[Any]) -> Any:
        try:
            batch = self.processor(
                text=[prompt + completion for prompt, completion in rows],
                images=images_by_row(images),
                padding=True,
                padding_side="right",
                add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
                return_tensors="pt",
            )
        except ValueError as error:  # say, an image of odd proportions
            raise SampleError("not encodable", str(error)) from error
        return check_batch(self.processor, batch)

    def _labels(self, batch: Any, rows: list[tuple[str, str]]) -> torch.Tensor:
        """Label the completion's own tokens, end of sequence included; everything before it is ignored."""
        import torch

        labels = torch.full_like(batch["input_ids"], IGNORED)
        ends = batch["attention_mask"].sum(dim=1).tolist()
        for row, (end, tokens) in enumerate(zip(ends, map(self._completion_tokens, rows), strict=True)):
            start = end - len(tokens)
            if batch["input_ids"][row, start:end].tolist() != tokens:
                raise SampleError("reply not found", "the processor writes the end of the text in another way")
            labels[row, start:end] = batch["input_ids"][row, start:end]
        return labels

    def _completion_tokens(self, row: tuple[str, str]) -> list[int]:
        """Return the tokens that the completion ends with, found by their offsets in the text.

        A completion that is tokenized alone begins otherwise in many vocabularies: Llama 2's, which LLaVA-1.5 has,
        puts a blank before the first word of a text.
        """
        prompt, completion = row
        encoded = self.processor.tokenizer(
            prompt + completion,
            add_special_tokens=adds_special_tokens(self.processor, prompt),
            return_offsets_mapping=True,
        )
        border = len(prompt)
        if any(start < border < end for start, end in encoded.offset_mapping):
            raise SampleError("reply not found", "the tokenizer merges the end of the prompt with the reply")
        pairs = zip(encoded.input_ids, encoded.offset_mapping, strict=True)
        return [token for token, (_, end) in pairs if end > border]
