"""Pool samples as training examples: tokens, picture, and a loss on the reply alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from delamo.data.images import open_image
from delamo.models.hf.chat import SampleError, adds_special_tokens, example_texts
from delamo.models.hf.processors import whole
from delamo.records import Sample

if TYPE_CHECKING:
    import torch

IGNORED = -100  # label of a token without loss


def open_picture(locator: str | None, max_pixels: int | None = None) -> Any:
    """A sample's picture, made smaller where it has more than `max_pixels`; None for a sample without one.

    Raises:
        ImageError: it cannot be read.
    """
    if locator is None:
        return None
    picture = open_image(locator)
    width, height = picture.size
    if max_pixels is None or width * height <= max_pixels:
        return picture
    scale = (max_pixels / (width * height)) ** 0.5
    return picture.resize((max(1, int(width * scale)), max(1, int(height * scale))), resample=3)  # bicubic


def by_row(pictures: Sequence[Any]) -> list[list[Any]] | None:
    """One list for each row, empty where it has no picture, as every processor takes them; None where no row has one."""
    rows = [[] if picture is None else [picture] for picture in pictures]
    return rows if any(rows) else None


@dataclass(frozen=True, slots=True)
class Collator:
    """Samples to a padded batch; pictures are decoded here, when their batch comes."""

    processor: Any
    max_image_pixels: int | None = None

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Every tensor that the processor returns, padded on the right, and `labels` of the shape of `input_ids`.

        Raises:
            SampleError, ImageError: a sample that this model cannot take; the pre-flight finds these first.
        """
        rows = [example_texts(self.processor, s.instruction, s.answer, has_image=s.image is not None) for s in samples]
        pictures = [open_picture(sample.image, self.max_image_pixels) for sample in samples]
        batch = self._encode(rows, pictures)
        batch["labels"] = self._labels(batch, rows)
        return dict(batch)

    def _encode(self, rows: list[tuple[str, str]], pictures: list[Any]) -> Any:
        try:
            batch = self.processor(
                text=[prompt + reply for prompt, reply in rows],
                images=by_row(pictures),
                padding=True,
                padding_side="right",
                add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
                return_tensors="pt",
            )
        except ValueError as error:  # say, a picture of odd proportions
            raise SampleError("not encodable", str(error)) from error
        return whole(self.processor, batch)

    def _labels(self, batch: Any, rows: list[tuple[str, str]]) -> torch.Tensor:
        """The reply's own tokens, end of sequence included; everything before it is ignored."""
        import torch

        labels = torch.full_like(batch["input_ids"], IGNORED)
        ends = batch["attention_mask"].sum(dim=1).tolist()
        for row, (end, tokens) in enumerate(zip(ends, map(self._reply_tokens, rows), strict=True)):
            start = end - len(tokens)
            if batch["input_ids"][row, start:end].tolist() != tokens:
                raise SampleError("reply not found", "the processor writes the end of the text in another way")
            labels[row, start:end] = batch["input_ids"][row, start:end]
        return labels

    def _reply_tokens(self, row: tuple[str, str]) -> list[int]:
        """The tokens that the reply ends with, told by where they lie in the text: a reply that is tokenized alone begins otherwise in many
        vocabularies (Llama 2's, which LLaVA-1.5 has, puts a blank before the first word of a text).
        """
        prompt, reply = row
        special = adds_special_tokens(self.processor, prompt)
        found = self.processor.tokenizer(prompt + reply, add_special_tokens=special, return_offsets_mapping=True)
        border = len(prompt)
        if any(start < border < end for start, end in found.offset_mapping):
            raise SampleError("reply not found", "the tokenizer merges the end of the prompt with the reply")
        places = zip(found.input_ids, found.offset_mapping, strict=True)
        return [token for token, (_, end) in places if end > border]
