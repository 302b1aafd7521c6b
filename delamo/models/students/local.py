"""The student in this process: any image-text-to-text model of transformers.

A LLaVA of two million parameters and one of seven billion load and answer by the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.data.images import ImageError
from delamo.data.quarantine import UnusableError
from delamo.models import prompts
from delamo.models.hf.chat import SampleError, adds_special_tokens, prompt_text
from delamo.models.hf.collator import images_by_row
from delamo.models.hf.identity import student_digest
from delamo.models.hf.loading import context_length, load_base
from delamo.models.hf.processors import check_batch, processor_facts
from delamo.models.images import load_image
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.records import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, slots=True)
class Reply:
    """The student's text for one sample."""

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
    prompt_set: str
    """Names the prompt template, a file in templates/student."""
    max_image_pixels: int | None
    """Larger images are made smaller before the processor sees them; None leaves that to the processor."""

    @classmethod
    def load(cls, config: HuggingFaceStudentConfig, adapter: Path | None = None) -> Student:
        """Load a checkpoint, and merge an adapter into it where one is given.

        Args:
            config: of the student.
            adapter: folder in PEFT's format; checked key by key (`adapter.check_adapter`) before it is merged.

        Raises:
            FileNotFoundError: no such folder or packaged weights.
            ValueError: the adapter does not fit.
        """
        model, processor = load_base(
            config.path,
            revision=config.revision,
            dtype=config.dtype.value,
            device=config.device,
            attn=config.attn.value,
        )
        if adapter is not None:
            from delamo.models.hf.adapter import merged

            model = merged(model, adapter)
        prompt = config.prompt.value
        digest = student_digest(config.path, revision=config.revision, prompt=prompt, adapter=adapter)
        return cls(model.eval(), processor, digest, prompt, config.max_image_pixels)

    @property
    def facts(self) -> dict[str, str]:
        """Classes, settings and number format that decide the student's numbers, for the manifest."""
        numerics = {
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attn": self.model.config._attn_implementation,
        }
        return {**processor_facts(self.processor), **numerics, "engine": "transformers"}

    @property
    def max_length(self) -> int:
        """Tokens that prompt and reply may have together."""
        return context_length(self.model, self.processor)

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Ids that end a reply."""
        stop = self.model.generation_config.eos_token_id
        stop = stop if isinstance(stop, list) else [stop]
        return frozenset({*stop, self.processor.tokenizer.eos_token_id} - {None})

    def prompt(self, sample: Sample) -> str:
        """Return the user turn of a task's sample: question and options by the prompt template."""
        return prompts.question(self.prompt_set, sample)

    def num_tokens(self, sample: Sample) -> int:
        """Return the length of the prompt, image tokens expanded. Raises SampleError or ImageError."""
        return int(self._encode([self._read(sample)])["attention_mask"].sum())

    def text_lengths(self, texts: list[str]) -> list[int]:
        """Count the tokens of texts without image tokens, by which batches are sorted; images are not opened for it."""
        return [len(row) for row in self.processor.tokenizer(texts).input_ids] if texts else []

    def generate(
        self, samples: Sequence[Sample], *, max_new_tokens: int, batch_size: int, temperature: float, seed: int
    ) -> list[Reply]:
        """Return replies in the order of the samples; see `replies`.

        Raises:
            SampleError: a sample that this model cannot take.
            ImageError: an image that cannot be read.
        """
        generated: dict[int, Reply] = {}
        options = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "temperature": temperature, "seed": seed}
        for index, reply in self.replies(samples, **options):
            if isinstance(reply, Exception):
                raise type(reply)(reply.reason, f"sample {samples[index].id}: {reply.detail}") from reply
            generated[index] = reply
        return [generated[index] for index in range(len(samples))]

    def replies(
        self, samples: Sequence[Sample], *, max_new_tokens: int, batch_size: int, temperature: float, seed: int
    ) -> Iterator[tuple[int, Reply | UnusableError]]:
        """Yield (index into samples, reply or what made the sample unusable), longest prompts first.

        Args:
            samples: to answer.
            max_new_tokens: of a reply. A prompt that leaves no room for them is unusable: nothing is cut.
            batch_size: samples at a time.
            temperature: 0 is greedy. Above, every sample draws from a stream of its own, seeded by `seed` and its id,
                so that neither batch size nor order changes a reply.
            seed: of the streams.
        """
        usable: list[tuple[int, str]] = []
        for index, sample in enumerate(samples):
            try:
                usable.append((index, self._prompt_text(sample)))
            except SampleError as error:
                yield index, error
        for batch in _batches(usable, samples, self.text_lengths([text for _, text in usable]), batch_size):
            yield from self._answer(batch, samples, max_new_tokens, temperature, seed)

    def hidden_states(
        self, samples: Sequence[Sample], *, layer: int, pooling: str, batch_size: int
    ) -> Iterator[tuple[int, np.ndarray | UnusableError]]:
        """Yield one vector (hidden size,) for each sample; see `delamo.models.scorers.losses.hidden_states`."""
        from delamo.models.scorers.losses import hidden_states

        return hidden_states(self, samples, layer=layer, pooling=pooling, batch_size=batch_size)

    def _answer(
        self,
        batch: list[tuple[int, str]],
        samples: Sequence[Sample],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> Iterator[tuple[int, Reply | UnusableError]]:
        rows: list[tuple[int, str, Any]] = []
        for index, text in batch:
            try:
                rows.append((index, text, load_image(samples[index].image, self.max_image_pixels)))
            except ImageError as error:
                yield index, error
        for fitting, inputs in self._fitting(rows, self.max_length - max_new_tokens):
            if isinstance(inputs, SampleError):
                yield fitting[0][0], inputs
                continue
            streams = [_stream(seed, samples[index].id) for index, _, _ in fitting] if temperature > 0 else None
            replies = self._decode(inputs, max_new_tokens, temperature, streams)
            yield from zip([index for index, _, _ in fitting], replies, strict=True)

    def _fitting(
        self, rows: list[tuple[int, str, Any]], limit: int
    ) -> Iterator[tuple[list[tuple[int, str, Any]], dict[str, torch.Tensor] | SampleError]]:
        """Yield (rows, model inputs); a row that is refused or too long comes alone, with its error."""
        if not rows:
            return
        try:
            inputs = self._encode([(text, image) for _, text, image in rows])
        except ValueError as error:  # one row's fault, say an image of odd proportions: find it
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
                detail = f"the prompt has {length} tokens, at most {limit} leave room for the reply"
                yield [row], SampleError("too long", detail)
        yield from self._fitting([row for row, length in zip(rows, lengths, strict=True) if length <= limit], limit)

    def _decode(
        self,
        inputs: dict[str, torch.Tensor],
        max_new_tokens: int,
        temperature: float,
        streams: list[torch.Generator] | None,
    ) -> list[Reply]:
        import torch

        from delamo.models.hf.decoding import Decoder

        decoder = Decoder(self.stop_tokens, temperature=temperature, streams=streams)
        prompt_length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=max_new_tokens, custom_generate=decoder)
        return [self._reply(row) for row in tokens[:, prompt_length:].tolist()]

    def _reply(self, tokens: list[int]) -> Reply:
        """Read the tokens up to and with the first stop token."""
        end = next((position for position, token in enumerate(tokens) if token in self.stop_tokens), None)
        tokens = tokens if end is None else tokens[: end + 1]
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text.strip(), len(tokens), end is None)

    def _prompt_text(self, sample: Sample) -> str:
        return prompt_text(self.processor, self.prompt(sample), has_image=sample.image is not None)

    def _read(self, sample: Sample) -> tuple[str, Any]:
        return self._prompt_text(sample), load_image(sample.image, self.max_image_pixels)

    def _encode(self, rows: list[tuple[str, Any]]) -> dict[str, torch.Tensor]:
        """Return every tensor that the processor makes, padded on the left, on the model's device."""
        encoded = self.processor(
            text=[text for text, _ in rows],
            images=images_by_row([image for _, image in rows]),
            padding=True,
            padding_side="left",
            add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
            return_tensors="pt",
        )
        return check_batch(self.processor, encoded).to(self.model.device, dtype=self.model.dtype)


def _batches(
    usable: list[tuple[int, str]], samples: Sequence[Sample], lengths: list[int], batch_size: int
) -> Iterator[list[tuple[int, str]]]:
    """Yield batches, longest first, so that memory fails early if it fails; those with and without images are apart."""
    order = sorted(range(len(usable)), key=lambda position: (-lengths[position], usable[position][0]))
    for has_image in (True, False):
        rows = [usable[i] for i in order if (samples[usable[i][0]].image is not None) is has_image]
        yield from (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))


def _stream(seed: int, id: str) -> torch.Generator:
    import torch

    entropy = hashlib.sha256(f"{seed}\0{id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(entropy[:8]) >> 1)
