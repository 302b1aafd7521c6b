"""A causal language model on this machine as a teacher.

The probabilities after every prefix of a rationale come from one forward pass: the rationale once (the trunk), then
for each prefix what differs from it, which is the prompt's tail (a branch), side by side. A 4-D attention mask lets
each branch see its own stretch of the trunk and itself; its position ids go on from there. The result is that of one
pass for each prefix, to rounding.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from delamo.models.hf.chat import SampleError
from delamo.models.hf.commits import pinned
from delamo.models.hf.head import logits_at
from delamo.models.hf.loading import choose_device, quiet, resolve
from delamo.models.teachers.base import CUT_OFF, OptionScores, PrefixPrompt, Refusal, Teacher
from delamo.models.teachers.config import LocalTeacherConfig
from delamo.models.teachers.option_probabilities import spellings
from delamo.models.usage import Usage
from delamo.records import LETTERS

if TYPE_CHECKING:
    import torch

TOKENS_PER_BATCH = (
    4_096  # padded; a quarter faster on a CPU's caches than 12,288, and it bounds the memory of the masks
)
TOLERANCE = 1e-4
"""Difference in an option's probability at which the self-check gives up the shared pass."""
HALF_TOLERANCE = 0.02
"""In 16 bits, where two ways to add up the same numbers differ by about a hundredth."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """All prompts about one rationale: the tokens that they share, and those that each adds."""

    trunk: list[int]
    branches: list[tuple[int, list[int]]]
    """For each prompt, how much of the trunk it starts with, and its own tokens (at least one) after that."""

    def __len__(self) -> int:
        return len(self.trunk) + sum(len(own) for _, own in self.branches)

    @classmethod
    def of(cls, rows: Sequence[list[int]]) -> _Tree:
        """Cut the token ids themselves, so that it is exact also where a tokenizer merges across the end of a step."""
        longest = rows[-1]
        ends = [min(_common_prefix(row, longest), len(row) - 1, len(longest) - 1) for row in rows[:-1]]
        ends.append(max(ends, default=0))
        return cls(longest[: ends[-1]], [(end, row[end:]) for end, row in zip(ends, rows, strict=True)])


@dataclass(slots=True)
class LocalTeacher(Teacher):
    """Any `AutoModelForCausalLM`. Make one with `LocalTeacher.load`."""

    model: Any
    tokenizer: Any
    config: LocalTeacherConfig
    shared: bool = True
    """Whether all prefixes of a rationale share one pass; False where the model takes no 4-D mask."""
    usage: Usage = field(default_factory=Usage, init=False)
    """Tokens that went through the model, those of a shared pass once; a model of one's own costs 0 USD."""
    _letters: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)
    _stops: set[int] = field(default_factory=set, init=False, repr=False)

    @classmethod
    def load(cls, config: LocalTeacherConfig) -> LocalTeacher:
        """Load a language model, and check on a short rationale that the shared pass is exact.

        Where it is not, a warning says so, and every prefix gets a pass of its own.

        Raises:
            FileNotFoundError: no such folder or packaged weights.
            ValueError: the chat template cannot be used.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        checkpoint = resolve(config.path, key="teacher.path")
        options = {"revision": pinned(checkpoint, config.revision, "teacher.path"), "trust_remote_code": False}
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
            model = AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=getattr(torch, config.dtype.value), use_safetensors=True, **options
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return checked(cls(to_device(model, config.device).eval(), tokenizer, config))

    @property
    def prompts(self) -> str:
        """See `Teacher.prompts`."""
        return self.config.prompts.value

    @property
    def sees_images(self) -> bool:
        """See `Teacher.sees_images`."""
        return self.config.sees_images

    @property
    def max_length(self) -> int:
        """Tokens of context."""
        known = self.tokenizer.model_max_length
        return min(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or known, known)

    @property
    def shared_length(self) -> int:
        """Tokens up to which the shared pass is exact: its mask replaces a model's own sliding window."""
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
        return window or self.max_length

    # Option probabilities.

    def option_probabilities(self, prompts: Sequence[PrefixPrompt]) -> list[OptionScores | Refusal]:
        """See `Teacher.option_probabilities`. A prompt over the context length is refused, never cut."""
        results: list[OptionScores | Refusal | None] = [None] * len(prompts)
        trees: dict[int, _Tree] = {}
        for index, prompt in enumerate(prompts):
            try:
                tokens = self._prompt_tokens(prompt.prefixes())
            except SampleError as error:
                results[index] = Refusal(error.reason, error.detail)
                continue
            longest = max(map(len, tokens))
            if longest > self.max_length:
                results[index] = Refusal("too long", f"{longest} tokens, the teacher takes {self.max_length}")
            elif self.shared and longest <= self.shared_length:
                trees[index] = _Tree.of(tokens)
                self.usage += Usage(calls=len(tokens), prompt_tokens=len(trees[index]))
            else:
                self.usage += Usage(calls=len(tokens), prompt_tokens=sum(map(len, tokens)))
                results[index] = self._scores(self._plain_logits(tokens), prompt.num_options)
        with tqdm(total=len(trees), desc="read rationales", delay=5, unit="rationale") as bar:
            for batch in _by_tokens(trees):
                logits = self._tree_logits([trees[index] for index in batch])
                for index, rows in zip(batch, logits, strict=True):
                    results[index] = self._scores(rows, prompts[index].num_options)
                bar.update(len(batch))
        return results

    def _tree_logits(self, trees: list[_Tree]) -> list[torch.Tensor]:
        """Return for each tree the logits after every prefix: (num_prefixes, vocabulary)."""
        import torch

        inputs, reads = tree_batch(trees, self.tokenizer.pad_token_id, self.model.dtype)
        device = self.model.device
        with torch.inference_mode():
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
            rows, positions = map(list, zip(*reads, strict=True))
            logits = logits_at(self.model, inputs, rows, positions).cpu()
        return list(logits.split([len(tree.branches) for tree in trees]))

    def _plain_logits(self, tokens: list[list[int]]) -> torch.Tensor:
        """Return the logits after every prefix by one plain pass for each: (num_prefixes, vocabulary)."""
        import torch

        keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        options = {"use_cache": False} | ({"logits_to_keep": 1} if keeps else {})
        device = self.model.device
        with torch.inference_mode():
            rows = [self.model(torch.tensor([row], device=device), **options).logits[0, -1] for row in tokens]
        return torch.stack(rows).float().cpu()

    def _scores(self, logits: torch.Tensor, num_options: int) -> OptionScores:
        """Normalize over the option letters; spellings of one letter (`A`, ` A`, `(a`) count together."""
        import torch

        probabilities = logits.double().softmax(-1)
        tokens = [self._spellings(letter) for letter in LETTERS[:num_options]]
        mass = torch.stack([probabilities[:, ids].sum(-1) for ids in tokens], dim=-1)
        inside = mass.sum(-1, keepdim=True)
        rows = (mass / inside.clamp_min(1e-300)).tolist()
        outside = (1 - inside[:, 0]).clamp(0, 1).tolist()
        return OptionScores(tuple(map(tuple, rows)), tuple(outside))

    def _spellings(self, letter: str) -> list[int]:
        """Return the ids of the single tokens that spell an option letter."""
        if letter in self._letters:
            return self._letters[letter]
        rows = self._tokenize(spellings(letter), special=False)
        ids = sorted({row[0] for row in rows if len(row) == 1})
        if not ids:
            raise ValueError(f"the teacher's tokenizer has no single token for the option letter {letter!r}")
        self._letters[letter] = ids
        return ids

    def _shared_pass_is_exact(self) -> bool:
        import torch

        prompt = PrefixPrompt("Question: 1 or 2?\nRationale:", (" One.", " So it is two."), "\nThe answer is", 2)
        tokens = self._tokenize(prompt.prefixes())
        try:
            shared = self._tree_logits([_Tree.of(tokens)])[0]
        except (ValueError, RuntimeError, TypeError, AttributeError, IndexError):
            return False  # a model without 4-D masks says so in many ways
        plain = self._plain_logits(tokens)
        pairs = [torch.tensor(self._scores(logits, prompt.num_options).probabilities) for logits in (shared, plain)]
        tolerance = TOLERANCE if self.model.dtype == torch.float32 else HALF_TOLERANCE
        return bool((pairs[0] - pairs[1]).abs().max() < tolerance)

    # Completions.

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`. Equal prompts are asked once; without a chat template, a line break ends a reply.

        Raises:
            ValueError: images were given; this teacher reads text only.
        """
        if images is not None and any(image is not None for image in images):
            raise ValueError(
                "teacher.sees_images is true, but a local causal language model reads text only: set it to false"
            )
        distinct = list(dict.fromkeys(prompts))
        tokens = self._prompt_tokens(distinct)
        replies: dict[str, str | Refusal] = {}
        limit = self.max_length - max_new_tokens
        for prompt, row in zip(distinct, tokens, strict=True):
            if len(row) > limit:
                replies[prompt] = Refusal("too long", f"{len(row)} tokens, at most {limit} leave room for the reply")
        order = sorted((i for i, row in enumerate(tokens) if len(row) <= limit), key=lambda i: -len(tokens[i]))
        with tqdm(total=len(order), desc="ask the teacher", delay=5, unit="prompt") as bar:
            for start in range(0, len(order), self.config.batch_size):
                batch = order[start : start + self.config.batch_size]
                for i, text in zip(batch, self._generate([tokens[i] for i in batch], max_new_tokens), strict=True):
                    replies[distinct[i]] = text
                bar.update(len(batch))
        return [replies[prompt] for prompt in prompts]

    def _generate(self, rows: list[list[int]], max_new_tokens: int) -> list[str | Refusal]:
        import torch

        from delamo.models.hf.decoding import Decoder

        length = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        decoder = Decoder(self._stop_tokens(), temperature=0.0)
        device = self.model.device
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max_new_tokens,
                pad_token_id=pad,
                custom_generate=decoder,
            )
        stops = self._stop_tokens()
        replies = out[:, length:].tolist()
        counts = [_num_until(row, stops) for row in replies]
        self.usage += Usage(calls=len(rows), prompt_tokens=sum(map(len, rows)), completion_tokens=sum(counts))
        texts = [text.strip() for text in self.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)]
        if not self.config.chat_template:  # a bare text goes on with another example
            texts = [text.partition("\n")[0].strip() for text in texts]
        is_whole = [any(token in stops for token in row) for row in replies]
        cut = f"no end within {max_new_tokens} tokens"
        return [text if whole else Refusal(CUT_OFF, cut, text) for text, whole in zip(texts, is_whole, strict=True)]

    def _stop_tokens(self) -> set[int]:
        """Return every token that ends a text or, without a chat template, holds a line break; there may be several."""
        if not self._stops:
            ends = self.model.generation_config.eos_token_id
            if not self.config.chat_template:
                words = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
                self._stops.update(token for token, word in enumerate(words) if "\n" in word)
            self._stops.update(ends if isinstance(ends, list) else [ends], [self.tokenizer.eos_token_id])
            self._stops.discard(None)
        return self._stops

    def _prompt_tokens(self, texts: list[str]) -> list[list[int]]:
        """Tokenize prompts; by a chat template, the last line of a prompt is the start of the reply."""
        if not self.config.chat_template:
            return self._tokenize(texts)
        parts = [text.rpartition("\n") for text in texts]
        turns = [self._user_turn(question or start) + (start if question else "") for question, _, start in parts]
        return self._tokenize(turns, special=self._lack_start(turns))

    def _user_turn(self, text: str) -> str:
        """Render a user's turn by the chat template, ready for the reply."""
        turn = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)

    @property
    def _holds_template(self) -> bool:
        return bool(self.tokenizer.chat_template)

    def _lack_start(self, texts: list[str]) -> bool:
        """Return whether the tokenizer is to add its start token, where the template leaves it out."""
        return False

    def _tokenize(self, texts: list[str], *, special: bool = True) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=special).input_ids


def to_device(model: Any, device: str) -> Any:
    """Move a model to a device; `split` spreads its layers over all GPUs, for one that fits on none."""
    if device != "split":
        return model.to(choose_device(device))
    from accelerate import dispatch_model, infer_auto_device_map

    unsplit = list(getattr(model, "_no_split_modules", None) or ())
    return dispatch_model(model, infer_auto_device_map(model, no_split_module_classes=unsplit))


def checked(teacher: LocalTeacher) -> LocalTeacher:
    """Switch the shared pass of a teacher off, with a warning, where the model does not give exact results by it.

    Raises:
        ValueError: a chat template was asked for, and there is none, or it leaves out the question.
    """
    if teacher.config.chat_template:
        _check_template(teacher)
    teacher.shared = teacher._shared_pass_is_exact()
    if not teacher.shared:
        warnings.warn(
            f"teacher.path is {teacher.config.path}: the model is not exact under a 4-D attention mask, so that each "
            "prefix of a rationale takes a pass of its own (several times slower, same probabilities)",
            stacklevel=3,
        )
    return teacher


def _check_template(teacher: LocalTeacher) -> None:
    path, question = teacher.config.path, "Question: 1 or 2?"
    if not teacher._holds_template:
        raise ValueError(f"teacher.chat_template is true, but {path} has none: set it to false, or save one with it")
    if question not in (turn := teacher._user_turn(question)):
        raise ValueError(
            f"teacher.chat_template is true, but that of {path} leaves out the question, it makes {turn!r}: "
            "set it to false, or save a template that writes what is asked"
        )


def tree_batch(
    trees: Sequence[_Tree], pad_token: int, dtype: torch.dtype
) -> tuple[dict[str, torch.Tensor], list[tuple[int, int]]]:
    """Make the model inputs for a batch of trees.

    Args:
        trees: of the batch.
        pad_token: id.
        dtype: of the mask.

    Returns:
        (input_ids and position_ids (batch, length), and an additive attention_mask (batch, 1, length, length); the
        (row, position) at which each prefix's answer is read).
    """
    import torch

    length = max(map(len, trees))
    ids = torch.full((len(trees), length), pad_token)
    positions = torch.zeros(len(trees), length, dtype=torch.long)
    visible = torch.eye(length, dtype=torch.bool).repeat(len(trees), 1, 1)  # padding sees itself: no empty softmax
    reads: list[tuple[int, int]] = []
    for row, tree in enumerate(trees):
        start = len(tree.trunk)
        ids[row, :start] = torch.tensor(tree.trunk, dtype=torch.long)
        positions[row, :start] = torch.arange(start)
        visible[row, :start, :start] = torch.ones(start, start, dtype=torch.bool).tril()
        for end, own in tree.branches:
            width = len(own)
            stop = start + width
            ids[row, start:stop] = torch.tensor(own)
            positions[row, start:stop] = torch.arange(end, end + width)
            visible[row, start:stop, :end] = True
            visible[row, start:stop, start:stop] = torch.ones(width, width, dtype=torch.bool).tril()
            reads.append((row, stop - 1))
            start = stop
    mask = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None]}, reads


def _common_prefix(first: list[int], second: list[int]) -> int:
    """Return the length of the common prefix of two rows of token ids."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _num_until(row: list[int], stops: set[int]) -> int:
    """Count the tokens up to and with the first stop."""
    return next((count for count, token in enumerate(row, start=1) if token in stops), len(row))


def _by_tokens(trees: dict[int, _Tree]) -> Iterable[list[int]]:
    """Yield batches of indices, of similar length and within the token budget."""
    batch: list[int] = []
    for index in sorted(trees, key=lambda i: -len(trees[i])):
        if batch and (len(batch) + 1) * len(trees[batch[0]]) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
