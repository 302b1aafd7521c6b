"""Decoding for batches of unequal replies: rows that have finished leave the batch.

transformers' own loop keeps every row until the last one stops and pays for all of them at every step. This one plugs
into `model.generate(custom_generate=...)`, so positions, cache and multimodal inputs are prepared by transformers.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from delamo.models.hf.kv_cache import preallocate

SHRINK_AT = 0.9
"""Copying the cache costs about one step, so the batch shrinks only when this share of it, or less, is still live."""


class Decoder:
    """Decode greedily (temperature 0), or sample, where each row draws from a random stream of its own.

    Args:
        stop_tokens: ids that end a reply.
        temperature: 0 is greedy.
        streams: one for each row, where the temperature is above 0.
    """

    def __init__(
        self, stop_tokens: Collection[int], *, temperature: float, streams: list[torch.Generator] | None = None
    ) -> None:
        self.stop_tokens = torch.tensor(sorted(stop_tokens))
        self.temperature = temperature
        self.streams = streams

    def __call__(
        self, model: Any, input_ids: torch.Tensor, logits_processor, stopping_criteria, generation_config, **kwargs: Any
    ) -> torch.Tensor:
        """Return token ids (batch, prompt + longest reply), short replies filled up with the pad token."""
        num_rows, prompt_length = input_ids.shape
        num_steps = generation_config.max_length - prompt_length
        replies = input_ids.new_full((num_rows, num_steps), generation_config.pad_token_id)
        stop_tokens = self.stop_tokens.to(input_ids.device)
        rows = torch.arange(num_rows, device=input_ids.device)  # of the whole batch, those still in it
        live = torch.ones_like(rows, dtype=torch.bool)
        preallocate(kwargs["past_key_values"])
        latest, step = input_ids, 0
        for step in range(num_steps):
            inputs = model.prepare_inputs_for_generation(
                latest, next_sequence_length=None if step == 0 else 1, is_first_iteration=step == 0, **kwargs
            )
            outputs = model(**inputs, return_dict=True)
            kwargs = model._update_model_kwargs_for_generation(outputs, kwargs, is_encoder_decoder=False)
            chosen = self._choose(outputs.logits[:, -1].float(), rows)
            replies[rows[live], step] = chosen[live]
            live &= ~torch.isin(chosen, stop_tokens)
            num_live = int(live.sum())
            if num_live == 0:
                break
            latest = chosen[:, None]
            if num_live <= SHRINK_AT * len(rows):
                latest, kwargs, rows = latest[live], _keep(kwargs, live), rows[live]
                live = torch.ones_like(rows, dtype=torch.bool)
        return torch.cat([input_ids, replies[:, : step + 1]], dim=1)

    def _choose(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Choose the next token of each row: logits (rows, vocabulary) -> (rows,)."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        cumulative = (logits / self.temperature).softmax(dim=-1).double().cumsum(dim=-1)
        drawn = torch.cat([torch.rand(1, generator=self.streams[row], dtype=torch.float64) for row in rows.tolist()])
        tokens = torch.searchsorted(cumulative, (drawn.to(logits.device) * cumulative[:, -1])[:, None], right=True)
        return tokens[:, 0].clamp(max=logits.shape[-1] - 1)


def _keep(kwargs: dict[str, Any], live: torch.Tensor) -> dict[str, Any]:
    """Restrict the generation state to the live rows."""
    # `reorder_cache`: `batch_select_indices` fails where layers lie on several devices, and linear attention has none
    kwargs["past_key_values"].reorder_cache(live.nonzero()[:, 0])
    for name in ("attention_mask", "token_type_ids", "mm_token_type_ids", "cross_attention_mask"):
        if kwargs.get(name) is not None:
            kwargs[name] = kwargs[name][live]
    if kwargs.get("position_ids") is not None:
        # (rows, length), or (axes, rows, length) under multimodal rotary positions
        kwargs["position_ids"] = kwargs["position_ids"][..., live, :]
    return kwargs
