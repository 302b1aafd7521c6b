"""A key-value cache that is written in place.

transformers' own layer makes a longer copy of all keys and values at every token, which for small models is most of the time of
decoding, and for large ones needs twice the memory for a moment. This one keeps room behind what is filled and copies only when
the room is used up. What the model sees is the same.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 64
"""Positions that are kept free when a copy has to be made."""


class RoomyLayer(DynamicLayer):
    """`keys` and `values` (rows, heads, length, width) are views of the filled part of larger tensors."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """As the cache calls it at the first token."""
        super().lazy_initialization(key_states, value_states)
        self._key_room, self._value_room = self.keys, self.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values of new positions; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self._key_room = _append(self.keys, self._key_room, key_states)
        self.values, self._value_room = _append(self.values, self._value_room, value_states)
        return self.keys, self.values


def make_roomy(cache: Cache) -> None:
    """Exchange the layers of a new cache that grow by copying; sliding and other kinds of layers stay as they are."""
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]


def _append(filled: torch.Tensor, room: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(what is filled now, the tensor that it is part of)."""
    start = filled.shape[-2] if filled.numel() else 0
    end = start + new.shape[-2]
    in_place = (
        room.numel() and room.data_ptr() == filled.data_ptr() and room.shape[0] == len(new) and end <= room.shape[-2]
    )
    if not in_place:  # no room is left, or rows have left the batch
        room = new.new_empty(*new.shape[:-2], end + ROOM, new.shape[-1])
        if start:
            room[..., :start, :] = filled
    room[..., start:end, :] = new
    return room[..., :end, :], room
