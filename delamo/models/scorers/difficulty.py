"""Instruction-following difficulty by a small language model, after Superfiltering (Li et al. 2024, section 3).

    IFD = perplexity(answer | instruction) / perplexity(answer) = exp(loss(answer | instruction) - loss(answer))

It is a ratio of perplexities; the older Cherry paper divides the losses, which gives another order. As in the
published code, the text is `instruction`, a line feed and the answer, without a chat template or a special token; each
loss is the mean over its tokens, and alone, the answer's first token has nothing before it and is not scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from delamo.models.hf.collator import IGNORED
from delamo.models.hf.commits import pinned
from delamo.models.hf.loading import check_weights, choose_device, quiet, resolve
from delamo.models.scorers.losses import scored_logits
from delamo.records import Quarantined, Sample

WITH_INSTRUCTION, ALONE = 0, 1
"""Columns of the losses."""


class Text(NamedTuple):
    """Tokens of which those from `start` on are scored."""

    tokens: list[int]
    start: int


@dataclass(frozen=True, slots=True)
class Scorer:
    """A causal language model and its tokenizer. Make one with `load`."""

    model: Any
    tokenizer: Any
    max_length: int
    """Tokens of instruction and answer together."""
    batch_tokens: int
    """Tokens, padding included, of a forward pass."""

    @classmethod
    def load(cls, path: str, *, revision: str | None, max_length: int, batch_tokens: int, device: str) -> Scorer:
        """Load any causal language model.

        Args:
            path: a hub id, a folder, or `package:NAME`.
            revision: of a hub id.
            max_length: tokens of instruction and answer together, unless the model has fewer positions.
            batch_tokens: tokens, padding included, of a forward pass.
            device: `auto`, or a name of torch's.

        Raises:
            FileNotFoundError: no such folder or packaged weights.
            ValueError: weights are missing.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        checkpoint = resolve(path, "selector.scorer")
        options = {"revision": pinned(checkpoint, revision, "selector.scorer"), "trust_remote_code": False}
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
            model, info = AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
            )
        check_weights(info, "selector.scorer", path)
        limit = min(max_length, model.config.get_text_config().max_position_embeddings)
        return cls(model.to(choose_device(device)).eval(), tokenizer, limit, batch_tokens)

    def losses(self, samples: Sequence[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
        """Compute both losses of every sample in nats a token, in one pass.

        Returns:
            ((num_samples, 2) float64, the answer's loss after the instruction and alone, NaN where there is none; the
            samples without losses: `empty answer`, `answer of one token`, `too long`). Nothing is cut, as the cut part
            would decide the rank.
        """
        texts, quarantined = self._texts(samples)
        losses = np.full((len(samples), 2), np.nan)
        order = sorted(texts, key=lambda index: (-len(texts[index].tokens), index))
        for batch in self._batches(order, texts):
            rows, columns = np.array(batch).T
            losses[rows, columns] = self._mean_losses([texts[index] for index in batch])
        return losses, quarantined

    def _texts(self, samples: Sequence[Sample]) -> tuple[dict[tuple[int, int], Text], list[Quarantined]]:
        """Return the texts to score by (sample, column), and the samples that cannot be scored."""
        heads = [f"{sample.instruction.strip()}\n" for sample in samples]
        answers = [sample.answer.strip() for sample in samples]
        together = self._tokens([head + answer for head, answer in zip(heads, answers, strict=True)])
        before, alone = self._tokens(heads), self._tokens(answers)
        texts: dict[tuple[int, int], Text] = {}
        quarantined: list[Quarantined] = []
        for i, sample in enumerate(samples):
            if reason := self._unusable(len(together[i]), len(alone[i])):
                detail = (
                    f"{len(together[i])} tokens, {len(alone[i])} of them the answer's; the limit is {self.max_length}"
                )
                quarantined.append(Quarantined(id=sample.id, stage="difficulty", reason=reason, detail=detail))
                continue
            texts[i, WITH_INSTRUCTION] = Text(together[i], len(before[i]))
            texts[i, ALONE] = Text(alone[i], 1)
        return texts, quarantined

    def _unusable(self, num_tokens: int, num_answer_tokens: int) -> str | None:
        if num_answer_tokens < 2:
            return "answer of one token" if num_answer_tokens else "empty answer"
        return "too long" if num_tokens > self.max_length else None

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        with quiet():  # a text beyond the model's positions is counted, not scored: no advice
            return self.tokenizer(texts, add_special_tokens=False).input_ids if texts else []

    def _batches(
        self, order: Sequence[tuple[int, int]], texts: dict[tuple[int, int], Text]
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield batches, longest first, of as many texts as fit `batch_tokens`; at least one."""
        start = 0
        while start < len(order):
            size = max(1, self.batch_tokens // len(texts[order[start]].tokens))
            yield list(order[start : start + size])
            start += size

    def _mean_losses(self, texts: Sequence[Text]) -> np.ndarray:
        """Compute the mean loss of each text, (num_texts,) float64."""
        import torch

        width = max(len(text.tokens) for text in texts)
        tokens = torch.zeros(len(texts), width, dtype=torch.long)
        labels = torch.full_like(tokens, IGNORED)
        mask = torch.zeros_like(tokens)
        for row, (ids, start) in enumerate(texts):
            tokens[row, : len(ids)] = torch.tensor(ids)
            labels[row, start : len(ids)] = tokens[row, start : len(ids)]
            mask[row, : len(ids)] = 1
        device = self.model.device
        inputs = {"input_ids": tokens.to(device), "attention_mask": mask.to(device)}
        with torch.inference_mode():
            logits, targets, rows = scored_logits(self.model, inputs, labels.to(device))
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none").cpu().double()
        rows = rows.cpu()
        totals = torch.zeros(len(texts), dtype=torch.float64).index_add(0, rows, losses)
        return (totals / torch.bincount(rows, minlength=len(texts))).numpy()


def ifd(losses: np.ndarray) -> np.ndarray:
    """Compute instruction-following difficulty: (num_samples, 2) losses -> (num_samples,), NaN where there are none."""
    return np.exp(losses[:, WITH_INSTRUCTION] - losses[:, ALONE])
