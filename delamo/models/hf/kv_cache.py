"""A key-value cache that is written in place.

The layer of transformers makes a longer copy of all keys and values at every token, which for small models is most of
the time of decoding, and for large ones needs twice the memory for a moment. This one allocates spare positions and
copies only when they are used up. The model sees the same.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer

NUM_SPARE = 64
"""Positions that are allocated beyond those needed, when a copy has to be made."""


class PreallocatedLayer(DynamicLayer):
    """A layer whose `keys` and `values` (rows, heads, length, width) are views of the filled part of larger buffers."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Initialize the layer, as the cache calls it at the first token."""
        super().lazy_initialization(key_states, value_states)
        self._key_buffer, self._value_buffer = self.keys, self.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values of new positions, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self._key_buffer = _append(self.keys, self._key_buffer, key_states)
        self.values, self._value_buffer = _append(self.values, self._value_buffer, value_states)
        return self.keys, self.values


def preallocate(cache: Cache) -> None:
    """Exchange the layers of a new cache that grow by copying; sliding and other kinds of layers stay as they are."""
    cache.layers = [PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]


def _append(filled: torch.Tensor, buffer: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Append new positions; returns the view of what is filled, and the buffer behind it."""
    start = filled.shape[-2] if filled.numel() else 0
    end = start + new.shape[-2]
    in_place = (
        buffer.numel()
        and buffer.data_ptr() == filled.data_ptr()
        and buffer.shape[0] == len(new)
        and end <= buffer.shape[-2]
    )
    if not in_place:  # the buffer is full, or rows have left the batch
        buffer = new.new_empty(*new.shape[:-2], end + NUM_SPARE, new.shape[-1])
        if start:
            buffer[..., :start, :] = filled
    buffer[..., start:end, :] = new
    return buffer[..., :end, :], buffer
