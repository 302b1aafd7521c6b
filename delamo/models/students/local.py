"""The student: any image-text-to-text model of transformers, behind one small surface.

A LLaVA of two million parameters and one of seven billion load and answer by the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.data.images import ImageError
from delamo.models.hf.chat import SampleError, adds_special_tokens, prompt_text
from delamo.models.hf.collator import by_row, open_picture
from delamo.models.hf.identity import student_digest, template, weights_identity
from delamo.models.hf.loading import choose_device, context_length, load_base, quiet, resolve
from delamo.models.hf.processors import processor_facts, whole
from delamo.records import LETTERS, Sample

if TYPE_CHECKING:
    import numpy as np
    import torch

    from delamo.models.scorers.losses import ReplyScore

__all__ = [
    "Reply",
    "Student",
    "choose_device",
    "context_length",
    "load_base",
    "quiet",
    "resolve",
    "student_digest",
    "weights_identity",
]
UNUSABLE = (SampleError, ImageError)
"""What a sample that cannot be asked raises: both carry `reason` and `detail`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the student wrote for one sample."""

    text: str
    """Without special tokens and outer blanks."""
    num_tokens: int
    """Tokens generated, the end-of-sequence token included."""
    truncated: bool
    """Stopped at `max_new_tokens`."""


@dataclass(slots=True)
class Student:
    """A loaded model and its processor. Make one with `Student.load`."""

    model: Any
    processor: Any
    digest: str
    """Identity of weights, tokenizer, adapter and prompt template (see `student_digest`)."""
    template: str
    """Name of the prompt template, a file in templates/student."""
    max_image_pixels: int | None = None
    """Larger pictures are made smaller before the processor sees them; None leaves that to the processor."""

    @classmethod
    def load(
        cls,
        path: str,
        *,
        adapter: Path | None = None,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        attn: str = "sdpa",
        prompt: str = "micro",
        max_image_pixels: int | None = None,
    ) -> Student:
        """Load a checkpoint, and merge an adapter into it where one is given.

        Args:
            path: hub id, folder, or `package:NAME` for weights shipped in delamo/models/weights/NAME.
            adapter: folder in PEFT's format; checked key by key (`adapter.check_adapter`) before it is merged.
            dtype: of the weights: `float32` gives one answer for every batch size; `bfloat16` halves memory, and close calls
                between two tokens may fall differently from one batch size to the next.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
            attn: attention implementation of transformers.
            prompt: `micro` or `paper`.
            max_image_pixels: of a picture, width x height; see the field.

        Raises:
            FileNotFoundError: no such folder or packaged weights.
            ValueError: the adapter does not fit.
        """
        model, processor = load_base(path, revision=revision, dtype=dtype, device=device, attn=attn)
        if adapter is not None:
            from delamo.models.hf.adapter import merged

            model = merged(model, adapter)
        digest = student_digest(path, adapter=adapter, revision=revision, prompt=prompt)
        return cls(model.eval(), processor, digest, prompt, max_image_pixels)

    @property
    def facts(self) -> dict[str, str]:
        """What decides how samples become tensors and numbers, for the manifest."""
        numerics = {
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attn": self.model.config._attn_implementation,
        }
        return {**processor_facts(self.processor), **numerics, "engine": "transformers"}

    @property
    def max_length(self) -> int:
        """Tokens that prompt and reply may have together."""
        return context_length(self.model, self.processor)

    def prompt(self, sample: Sample) -> str:
        """The user turn of a task's sample: question and options by the prompt template."""
        return template(self.template).render(question=sample.instruction, options=sample.options, letters=LETTERS)

    def num_tokens(self, sample: Sample) -> int:
        """Length of the prompt, image tokens expanded. Raises one of `UNUSABLE`."""
        return int(self._encode([self._read(sample)])["attention_mask"].sum())

    def generate(
        self,
        samples: Sequence[Sample],
        *,
        max_new_tokens: int,
        batch_size: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Reply]:
        """Replies in the order of the samples; raises the first sample's error (see `replies`)."""
        found: dict[int, Reply] = {}
        options = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "temperature": temperature, "seed": seed}
        for index, reply in self.replies(samples, **options):
            if isinstance(reply, Exception):
                raise type(reply)(reply.reason, f"sample {samples[index].id}: {reply.detail}") from reply
            found[index] = reply
        return [found[index] for index in range(len(samples))]

    def replies(
        self,
        samples: Sequence[Sample],
        *,
        max_new_tokens: int,
        batch_size: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[tuple[int, Reply | SampleError | ImageError]]:
        """Yield (index into samples, reply or what made the sample unusable), longest prompts first.

        Temperature 0 is greedy. Above, every sample draws from a stream of its own, seeded by `seed` and its id, so that
        neither batch size nor order changes a reply. A prompt that leaves no room for `max_new_tokens` is unusable: nothing
        is cut.
        """
        usable: list[tuple[int, str]] = []
        for index, sample in enumerate(samples):
            try:
                usable.append((index, self._prompt_text(sample)))
            except SampleError as error:
                yield index, error
        for batch in _batches(usable, samples, self.text_lengths([text for _, text in usable]), batch_size):
            yield from self._answer(batch, samples, max_new_tokens, temperature, seed)

    def reply_scores(
        self, samples: Sequence[Sample], *, batch_size: int
    ) -> Iterator[tuple[int, ReplyScore | SampleError | ImageError]]:
        """Loss and log-likelihood of each sample's own answer; see `scoring.reply_scores`."""
        from delamo.models.scorers.losses import reply_scores

        return reply_scores(self, samples, batch_size=batch_size)

    def option_scores(
        self, samples: Sequence[Sample], *, batch_size: int
    ) -> Iterator[tuple[int, list[ReplyScore] | SampleError | ImageError]]:
        """Log-likelihood of each option as the reply; see `scoring.option_scores`."""
        from delamo.models.scorers.losses import option_scores

        return option_scores(self, samples, batch_size=batch_size)

    def hidden_states(
        self, samples: Sequence[Sample], *, batch_size: int, layer: int = -1, **how: Any
    ) -> Iterator[tuple[int, np.ndarray | SampleError | ImageError]]:
        """One vector (hidden,) for each sample; see `scoring.hidden_states`."""
        from delamo.models.scorers.losses import hidden_states

        return hidden_states(self, samples, batch_size=batch_size, layer=layer, **how)

    def _answer(self, batch, samples, max_new_tokens, temperature, seed):
        read: list[tuple[int, str, Any]] = []
        for index, text in batch:
            try:
                read.append((index, text, open_picture(samples[index].image, self.max_image_pixels)))
            except ImageError as error:
                yield index, error
        for rows, inputs in self._fitting(read, self.max_length - max_new_tokens):
            if isinstance(inputs, SampleError):
                yield rows[0][0], inputs
                continue
            streams = [_stream(seed, samples[index].id) for index, _, _ in rows] if temperature > 0 else None
            replies = self._decode(inputs, max_new_tokens, temperature, streams)
            yield from zip([index for index, _, _ in rows], replies, strict=True)

    def _fitting(self, rows, limit: int):
        """Yield (rows, model inputs); a row that the processor refuses or that is too long comes alone, with its error."""
        if not rows:
            return
        try:
            inputs = self._encode([(text, picture) for _, text, picture in rows])
        except ValueError as error:  # one row's fault, say a picture of odd proportions: find it
            if len(rows) > 1:
                for row in rows:
                    yield from self._fitting([row], limit)
            else:
                yield rows, SampleError("not encodable", str(error))
            return
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        if max(lengths) <= limit:
            yield rows, inputs
            return
        for row, length in zip(rows, lengths, strict=True):
            if length > limit:
                yield (
                    [row],
                    SampleError(
                        "too long", f"the prompt has {length} tokens, at most {limit} leave room for the reply"
                    ),
                )
        yield from self._fitting([row for row, length in zip(rows, lengths, strict=True) if length <= limit], limit)

    def _decode(self, inputs, max_new_tokens: int, temperature: float, streams) -> list[Reply]:
        import torch

        from delamo.models.hf.decoding import Decoder

        decoder = Decoder(self.stop_tokens, temperature, streams)
        prompt_length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=max_new_tokens, custom_generate=decoder)
        return [self._reply(row) for row in tokens[:, prompt_length:].tolist()]

    def _reply(self, tokens: list[int]) -> Reply:
        """Tokens up to and with the first stop token."""
        end = next((place for place, token in enumerate(tokens) if token in self.stop_tokens), None)
        kept = tokens if end is None else tokens[: end + 1]
        text = self.processor.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text.strip(), len(kept), end is None)

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Ids that end a reply."""
        stop = self.model.generation_config.eos_token_id
        stop = stop if isinstance(stop, list) else [stop]
        return frozenset({*stop, self.processor.tokenizer.eos_token_id} - {None})

    def _prompt_text(self, sample: Sample) -> str:
        return prompt_text(self.processor, self.prompt(sample), has_image=sample.image is not None)

    def _read(self, sample: Sample) -> tuple[str, Any]:
        return self._prompt_text(sample), open_picture(sample.image, self.max_image_pixels)

    def text_lengths(self, texts: list[str]) -> list[int]:
        """Tokens without image tokens: what batches are sorted by; images are not opened for it."""
        return [len(row) for row in self.processor.tokenizer(texts).input_ids] if texts else []

    def _encode(self, rows: list[tuple[str, Any]]) -> dict[str, torch.Tensor]:
        """Every tensor that the processor returns, padded on the left, on the model's device and in its dtype."""
        encoded = self.processor(
            text=[text for text, _ in rows],
            images=by_row([picture for _, picture in rows]),
            padding=True,
            padding_side="left",
            add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
            return_tensors="pt",
        )
        return whole(self.processor, encoded).to(self.model.device, dtype=self.model.dtype)


def _batches(
    usable: list[tuple[int, str]], samples: Sequence[Sample], lengths: list[int], batch_size: int
) -> Iterator[list[tuple[int, str]]]:
    """Longest first, so that memory fails early if it fails; never text-only and pictured samples in one batch."""
    order = sorted(range(len(usable)), key=lambda place: (-lengths[place], usable[place][0]))
    for pictured in (True, False):
        rows = [usable[place] for place in order if (samples[usable[place][0]].image is not None) is pictured]
        yield from (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))


def _stream(seed: int, id: str) -> torch.Generator:
    import torch

    entropy = hashlib.sha256(f"{seed}\0{id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(entropy[:8]) >> 1)
