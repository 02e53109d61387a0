"""The cache of a Wan transformer against a plain list of frames."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.worlds.wan.wan_reference import normal
from worldstream.worlds.wan.config import WAN_1_3B, WanConfig
from worldstream.worlds.wan.kv_cache import CacheState, KVCache
from worldstream.worlds.wan.layers import RotaryPositions, rotate

CONFIG = WanConfig(dim=24, ffn_dim=8, heads=2, layers=2, text_dim=4, freq_dim=4)
ROWS, COLUMNS, TOKENS = 2, 4, 2
POSITIONS = RotaryPositions(CONFIG.head_width)


def frame(number: int, layer: int) -> tuple[Tensor, Tensor]:
    """Unrotated keys and values of a frame, `[1, TOKENS, H, d]`."""
    shape = (1, TOKENS, CONFIG.heads, CONFIG.head_width)
    return normal(1000 * layer + 2 * number, *shape), normal(1000 * layer + 2 * number + 1, *shape)


def joined(numbers: list[int], layer: int) -> tuple[Tensor, Tensor]:
    pairs = [frame(n, layer) for n in numbers]
    return torch.cat([k for k, _ in pairs], 1), torch.cat([v for _, v in pairs], 1)


class Plain:
    """What a session remembers, as lists: frames of the sink and of the ring, each with the frame's name."""

    def __init__(self, window: int, chunk: int, sink: int) -> None:
        self.ring_size, self.sink_size = window - chunk - sink, sink
        self.sink, self.ring = list[int](), list[int]()

    def commit(self, names: list[int]) -> None:
        for name in names:
            if len(self.sink) < self.sink_size:
                self.sink.append(name)
            else:
                self.ring.append(name)
        self.ring = self.ring[len(self.ring) - min(len(self.ring), self.ring_size) :]


def check(cache: KVCache, plain: Plain, names: list[int]) -> None:
    """What the chunk of these frames attends to, in every layer: itself and the list, at positions without a gap."""
    plan = cache.begin(len(names), commit=False)
    seen = [*plain.sink, *plain.ring, *names]
    assert cache.held == len(plain.sink) + len(plain.ring)
    for layer in range(CONFIG.layers):
        keys, values = cache.attended(layer, *joined(names, layer), plan)
        assert keys.shape == values.shape == (1, len(seen) * TOKENS, CONFIG.heads, CONFIG.head_width)
        got = {float(values[0, i * TOKENS, 0, 0]): i for i in range(len(seen))}
        first = cache.next - len(plain.ring) - len(plain.sink)  # relative positions, up to a shift of them all
        for position, name in enumerate(seen):
            k, v = frame(name, layer)
            part = slice(got[float(v[0, 0, 0, 0])] * TOKENS, (got[float(v[0, 0, 0, 0])] + 1) * TOKENS)
            assert torch.equal(values[:, part], v)
            turned = rotate(k, POSITIONS.at(first + position, 1, 1, 2, k.device))
            torch.testing.assert_close(keys[:, part], turned)


def commit(cache: KVCache, names: list[int]) -> None:
    plan = cache.begin(len(names), commit=True)
    for layer in range(CONFIG.layers):
        k, v = joined(names, layer)
        cache.keep(layer, k, *cache.attended(layer, k, v, plan), plan)
    cache.advance(plan)


COMMANDS = st.lists(st.one_of(st.integers(1, 3), st.sampled_from(["snapshot", "restore", "reset"])), max_size=14)
SIZES = st.sampled_from([(3, 0), (4, 0), (6, 0), (7, 2), (9, 3), (6, 3), (4, 1)])


@settings(max_examples=60)
@given(COMMANDS, SIZES)
def test_the_cache_equals_a_list(commands: list[int | str], sizes: tuple[int, int]) -> None:
    window, sink = sizes
    cache = KVCache(CONFIG, ROWS, COLUMNS, window, chunk=3, sink=sink)
    plain, name = Plain(window, 3, sink), 0
    kept: tuple[CacheState, list[int], list[int]] | None = None
    buffers = cache.keys.data_ptr(), cache.values.data_ptr(), cache.allocated
    for command in commands:
        if isinstance(command, int):
            names = list(range(name, name + command))
            check(cache, plain, names)
            commit(cache, names)
            plain.commit(names)
            name += command
        elif command == "snapshot":
            kept = cache.snapshot(), list(plain.sink), list(plain.ring)
        elif command == "restore" and kept is not None:
            cache.restore(kept[0])
            plain.sink, plain.ring = list(kept[1]), list(kept[2])
        elif command == "reset":
            cache.reset()
            plain = Plain(window, 3, sink)
    check(cache, plain, [10_000, 10_001, 10_002])
    assert (cache.keys.data_ptr(), cache.values.data_ptr(), cache.allocated) == buffers


def test_rewinding_frames_of_the_sink_alone() -> None:
    cache, plain = KVCache(CONFIG, ROWS, COLUMNS, 8, chunk=2, sink=3), Plain(8, 2, 3)
    commit(cache, [0, 1])
    commit(cache, [2, 3])
    cache.rewind(2)  # frame 2 is of the sink and goes, frame 3 of the ring
    plain.commit([0, 1])
    check(cache, plain, [4, 5])
    commit(cache, [4, 5])
    plain.commit([4, 5])
    check(cache, plain, [6])


def test_in_absolute_mode_the_sink_stays_in_its_place() -> None:
    cache = KVCache(CONFIG, ROWS, COLUMNS, 4, chunk=1, sink=1, relative=False)
    assert cache.allocated == KVCache.bytes(CONFIG, 4, TOKENS, torch.float32, relative=False, sink=1)
    for number in range(9):
        commit(cache, [number])
    plan = cache.begin(1, commit=False)
    keys, _ = cache.attended(0, *joined([9], 0), plan)
    got = keys[:, TOKENS : 2 * TOKENS]
    torch.testing.assert_close(got, rotate(frame(0, 0)[0], POSITIONS.at(0, 1, 1, 2, got.device)))


@pytest.mark.parametrize("sink", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_are_what_is_allocated(sink: int, dtype: torch.dtype) -> None:
    cache = KVCache(CONFIG, ROWS, COLUMNS, 9, sink=sink, batch=2, dtype=dtype)
    assert cache.allocated == KVCache.bytes(CONFIG, 9, TOKENS, dtype, sink=sink, batch=2)


def test_bytes_of_the_published_shapes() -> None:
    """0.288 GB a latent frame at 832 x 480, 0.162 at 640 x 352."""
    assert KVCache.bytes(WAN_1_3B, 1, 1560, torch.bfloat16) == 1560 * 184_320
    assert KVCache.bytes(WAN_1_3B, 12, 1560, torch.bfloat16, sink=3) == 1560 * 184_320 * 27 // 2
    assert round(KVCache.bytes(WAN_1_3B, 6, 880, torch.bfloat16) / 1e9, 2) == 0.97


def test_a_window_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 5 frames does not hold 3 of sink and a chunk of 3"):
        KVCache(CONFIG, ROWS, COLUMNS, 5, sink=3)


def test_a_snapshot_of_another_cache_is_refused() -> None:
    big, small = KVCache(CONFIG, ROWS, COLUMNS, 9), KVCache(CONFIG, ROWS, COLUMNS, 4)
    commit(big, [0, 1, 2])
    with pytest.raises(ValueError, match="does not fit"):
        small.restore(big.snapshot())


def test_a_snapshot_is_as_large_as_what_is_remembered() -> None:
    cache = KVCache(CONFIG, ROWS, COLUMNS, 9)
    commit(cache, [0, 1])
    state = cache.snapshot()
    assert state.keys.shape[2] == 2 * TOKENS
    commit(cache, [2])
    cache.restore(state)
    assert (cache.next, cache.held) == (2, 2)
