"""The ring against a plain list of frames."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, network
from worldstream.worlds.attention import rotate
from worldstream.worlds.kv_cache import CacheState, KVCache

MODEL = network()
SHAPE = (NETWORK.blocks, 1, NETWORK.heads, NETWORK.tokens, NETWORK.head_width)


def frame(number: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(number)
    return torch.randn(SHAPE, generator=g), torch.randn(SHAPE, generator=g)


def seen(cache: KVCache) -> dict[float, tuple[Tensor, Tensor]]:
    """What the next frame finds, by its first value: rotated keys and values of every slot that is not hidden."""
    keys, values, bias = cache.view()
    found = {}
    for slot in range(NETWORK.window):
        part = slice(slot * NETWORK.tokens, (slot + 1) * NETWORK.tokens)
        hidden = torch.isinf(bias[part])
        assert hidden.all() or not hidden.any(), "a slot is hidden as a whole"
        if not hidden.any():
            assert (bias[part] == 0).all()
            found[float(values[0, 0, 0, slot * NETWORK.tokens, 0])] = keys[:, :, :, part], values[:, :, :, part]
    return found


def check(cache: KVCache, frames: list[int]) -> None:
    """The newest `window` frames are there, each rotated to its age; the newest sits just before the next."""
    found = seen(cache)
    expected = list(reversed(frames))[: NETWORK.window]
    assert len(found) == len(expected)
    for back, number in enumerate(expected, 1):
        keys, values = frame(number)
        position = NETWORK.window - back
        got_keys, got_values = found[float(values[0, 0, 0, 0, 0])]
        assert torch.equal(got_values, values)
        torch.testing.assert_close(got_keys, rotate(keys, MODEL.cos[position], MODEL.sin[position]))


COMMANDS = st.lists(st.sampled_from(["commit"] * 6 + ["reset", "snapshot", "restore"]), max_size=30)


@settings(max_examples=60)
@given(COMMANDS)
def test_ring_equals_a_list(commands: list[str]) -> None:
    cache, frames = KVCache(MODEL), list[int]()
    kept: tuple[CacheState, list[int]] | None = None
    for number, command in enumerate(commands):
        if command == "commit":
            cache.commit(*frame(number))
            frames.append(number)
        elif command == "reset":
            cache.reset()
            frames = []
        elif command == "snapshot":
            kept = cache.snapshot(), list(frames)
        elif kept is not None:
            cache.restore(kept[0])
            frames = list(kept[1])
        check(cache, frames)


def test_snapshot_is_a_copy_both_ways() -> None:
    cache = KVCache(MODEL)
    cache.commit(*frame(1))
    state = cache.snapshot()
    for number in range(2, 9):
        cache.commit(*frame(number))
    other = KVCache(MODEL)
    other.restore(state)
    check(other, [1])
    other.commit(*frame(20))
    other.restore(state)
    check(other, [1])
    check(cache, list(range(1, 9)))


def test_ring_does_not_grow() -> None:
    cache = KVCache(MODEL)
    sizes = cache.keys.shape, cache.values.shape, cache.keys.data_ptr()
    for number in range(50):
        cache.commit(*frame(number))
    assert (cache.keys.shape, cache.values.shape, cache.keys.data_ptr()) == sizes


def test_a_batch_advances_together() -> None:
    cache = KVCache(MODEL, 2)
    keys, values = (torch.cat([a, b], 1) for a, b in zip(frame(1), frame(2), strict=True))
    cache.commit(keys, values)
    _, kept, _ = cache.view()
    assert torch.equal(kept[:, 1, :, : NETWORK.tokens], frame(2)[1][:, 0])
