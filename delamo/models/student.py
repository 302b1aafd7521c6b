"""The student: any image-text-to-text model of transformers, behind one small surface.

A LLaVA of two million parameters and one of seven billion load and answer by the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.data.images import ImageError, open_image
from delamo.models.chat import SampleError, adds_special_tokens, prompt_text
from delamo.records import LETTERS, Sample

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"
TEMPLATES = Path(__file__).parent / "templates" / "student"
HASHED_WHOLE = 64 * 2**20  # bytes; of a larger file the size and both ends count, so that 7B weights take no minute
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

        Raises:
            FileNotFoundError: no such folder or packaged weights.
            ValueError: the adapter does not fit.
        """
        model, processor = load_base(path, revision=revision, dtype=dtype, device=device, attn=attn)
        if adapter is not None:
            from delamo.models.adapter import load_adapter

            model = load_adapter(model, adapter).merge_and_unload()
        digest = student_digest(path, adapter=adapter, revision=revision, prompt=prompt)
        return cls(model.eval(), processor, digest, prompt)

    @property
    def max_length(self) -> int:
        """Tokens that prompt and reply may have together."""
        return context_length(self.model, self.processor)

    def prompt(self, sample: Sample) -> str:
        """The user turn of a task's sample: question and options by the prompt template."""
        return _template(self.template).render(question=sample.instruction, options=sample.options, letters=LETTERS)

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
        for batch in _batches(usable, samples, self._text_lengths([text for _, text in usable]), batch_size):
            yield from self._answer(batch, samples, max_new_tokens, temperature, seed)

    def _answer(self, batch, samples, max_new_tokens, temperature, seed):
        read: list[tuple[int, str, Any]] = []
        for index, text in batch:
            try:
                read.append((index, text, _picture(samples[index])))
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

        from delamo.models.decoding import Decoder

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
        return self._prompt_text(sample), _picture(sample)

    def _text_lengths(self, texts: list[str]) -> list[int]:
        """Tokens without image tokens: what batches are sorted by; images are not opened for it."""
        return [len(row) for row in self.processor.tokenizer(texts).input_ids] if texts else []

    def _encode(self, rows: list[tuple[str, Any]]) -> dict[str, torch.Tensor]:
        """Every tensor that the processor returns, padded on the left, on the model's device and in its dtype."""
        pictures = [picture for _, picture in rows if picture is not None]
        encoded = self.processor(
            text=[text for text, _ in rows],
            images=pictures or None,
            padding=True,
            padding_side="left",
            add_special_tokens=adds_special_tokens(self.processor, rows[0][0]),
            return_tensors="pt",
        )
        return encoded.to(self.model.device, dtype=self.model.dtype)


def load_base(
    path: str, *, revision: str | None, dtype: str, device: str = "auto", attn: str = "sdpa"
) -> tuple[Any, Any]:
    """(model in evaluation mode, processor) of a hub id, folder or packaged name; safetensors only, no remote code."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

    place = resolve(path)
    options = {"revision": revision, "trust_remote_code": False}
    with quiet():
        processor = AutoProcessor.from_pretrained(place, **options)
        model, info = AutoModelForImageTextToText.from_pretrained(
            place,
            dtype=getattr(torch, dtype),
            attn_implementation=attn,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    if info["missing_keys"] or info["mismatched_keys"]:
        lacking = sorted(info["missing_keys"])[:3] or info["mismatched_keys"][:3]
        raise ValueError(f"student.path is {path}: its weights lack {lacking}; transformers would fill them with noise")
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    # A checkpoint's own sampling settings (temperature, repetition penalty) would make "greedy" mean something else by model.
    stop = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=stop if stop is not None else processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return model.to(choose_device(device)).eval(), processor


def resolve(path: str, key: str = "student.path") -> str:
    """`package:NAME` as the folder it stands for; anything else as it is. `key` is the config key that errors name."""
    if path.startswith("package:"):
        folder = WEIGHTS / path.removeprefix("package:")
        if not (folder / "config.json").is_file():
            shipped = sorted(entry.parent.name for entry in WEIGHTS.glob("*/config.json"))
            raise FileNotFoundError(f"{key} is {path}: no such packaged weights; there are {shipped or 'none'}")
        return str(folder)
    if path.startswith(("/", "./", "../", "~")):
        folder = Path(path).expanduser()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{key} is {path}: no config.json there; give a checkpoint folder or a hub id")
        return str(folder)
    return path


def choose_device(device: str) -> str:
    """`auto` as the best device of this machine."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def context_length(model: Any, processor: Any) -> int:
    """The model's positions, or fewer where its tokenizer says so."""
    limit = model.config.get_text_config().max_position_embeddings
    return min(limit, processor.tokenizer.model_max_length)


def student_digest(
    path: str, *, adapter: Path | None = None, revision: str | None = None, prompt: str = "micro"
) -> str:
    """sha256 over what decides an answer: weights and tokenizer files, adapter, prompt template. Loads no model.

    A folder counts by its files' names, sizes and contents (of a file above 64 MiB: size and both ends), a hub id by its
    commit, or by `revision` where the local cache does not hold it. Where the weights lie does not matter.
    """
    parts = [weights_identity(path, revision), folder_digest(adapter) if adapter else "", _template_source(prompt)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_identity(path: str, revision: str | None = None) -> str:
    """Digest of a folder's files, or hub id and commit."""
    place = resolve(path)
    return folder_digest(Path(place)) if Path(place).is_dir() else f"{path}@{_commit(path, revision)}"


def folder_digest(folder: Path) -> str:
    """sha256 over the names, sizes and contents of a folder's files; hidden files and Markdown do not count."""
    digest = hashlib.sha256()
    files = sorted(
        entry for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "." and entry.suffix != ".md"
    )
    for file in files:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            if file.stat().st_size > HASHED_WHOLE:
                digest.update(stream.read(2**20))
                stream.seek(-(2**20), 2)
            for chunk in iter(lambda: stream.read(2**20), b""):
                digest.update(chunk)
    return digest.hexdigest()


@cache
def _template(name: str) -> Any:
    import jinja2

    return jinja2.Template(_template_source(name), undefined=jinja2.StrictUndefined)


def _template_source(name: str) -> str:
    file = TEMPLATES / f"{name}.j2"
    if not file.is_file():
        known = sorted(entry.stem for entry in TEMPLATES.glob("*.j2"))
        raise FileNotFoundError(f"student.prompt is {name}: no such template; there are {known}")
    return file.read_text(encoding="utf-8")


def _commit(path: str, revision: str | None) -> str:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision or "main"


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no advice while transformers loads; what matters is checked and raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _picture(sample: Sample) -> Any:
    return None if sample.image is None else open_image(sample.image)


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
