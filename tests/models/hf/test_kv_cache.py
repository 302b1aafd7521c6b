"""The key-value cache that is written in place holds what transformers' own holds."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from delamo.models.hf.decoding import _keep
from delamo.models.hf.kv_cache import NUM_SPARE, PreallocatedLayer, preallocate


def states(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 2, length, 3), torch.randn(rows, 2, length, 3)


def test_it_holds_what_was_appended_while_it_grows_and_loses_rows():
    torch.manual_seed(0)
    ours, theirs = PreallocatedLayer(), DynamicLayer()
    appended = [states(4, 5), *(states(4, 1) for _ in range(NUM_SPARE + 3))]
    for keys, values in appended:
        for mine, reference in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
            assert torch.equal(mine, reference)
    kept = torch.tensor([0, 3])
    for layer in (ours, theirs):
        layer.reorder_cache(kept)
    for keys, values in [states(2, 1) for _ in range(3)]:
        for mine, reference in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
            assert torch.equal(mine, reference)
    assert ours.get_seq_length() == theirs.get_seq_length() == 5 + NUM_SPARE + 3 + 3


def test_tokens_are_written_in_place_until_the_spare_positions_are_used_up():
    layer = PreallocatedLayer()
    layer.update(*states(2, 7))
    addresses = set()
    for _ in range(NUM_SPARE):
        keys, _ = layer.update(*states(2, 1))
        addresses.add(keys.data_ptr())
    assert len(addresses) == 1
    keys, _ = layer.update(*states(2, 1))
    assert keys.data_ptr() not in addresses


@pytest.mark.parametrize("layer", [PreallocatedLayer(), DynamicSlidingWindowLayer(4)])
def test_only_layers_that_grow_by_copying_are_exchanged(layer):
    cache = DynamicCache()
    cache.layers = [DynamicLayer(), layer]
    preallocate(cache)
    assert type(cache.layers[0]) is PreallocatedLayer and cache.layers[1] is not None
    assert type(cache.layers[1]) is type(layer)


class OwnDevice(TorchFunctionMode):
    """Rows are taken by an index on the tensor's own device: what torch asks for between two GPUs."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.__getitem__, torch.Tensor.index_select):
            index = args[-1][0] if isinstance(args[-1], tuple) else args[-1]
            if isinstance(index, torch.Tensor):
                assert index.device == args[0].device
        return func(*args, **(kwargs or {}))


def test_rows_leave_layers_that_lie_on_several_devices():
    cache = DynamicCache()
    cache.layers = [
        PreallocatedLayer(),
        PreallocatedLayer(),
        DynamicSlidingWindowLayer(4),
        PreallocatedLayer(),
    ]  # the last has seen nothing
    for index, device in enumerate(["cpu", "meta", "meta"]):
        cache.update(*(state.to(device) for state in states(3, 5)), index)
    with OwnDevice():
        _keep({"past_key_values": cache}, torch.tensor([True, False, True]))
    assert [layer.keys.shape[0] for layer in cache.layers[:3]] == [2, 2, 2]
