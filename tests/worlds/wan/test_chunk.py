"""Chunk after chunk with a cache: the same as recomputing everything under a mask, in diffusers' model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache as cache_of

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.wan_reference import (
    COLUMNS,
    FRAME,
    ROWS,
    TINY,
    TOLERANCE,
    attended_frames,
    causal,
    error,
    masked,
    normal,
    per_token,
    published,
    reference,
    relative,
)
from worldstream.worlds.wan.attention import Context
from worldstream.worlds.wan.block import Grid
from worldstream.worlds.wan.config import WAN_1_3B
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.transformer import WanTransformer

TEXT = normal(2, 1, TINY.text_len, 16)
NOISY = 833.3
GLOBAL = 21
THEIRS = cache_of(lambda: reference(TINY))  # made when the first test asks


@cache_of
def ours() -> WanTransformer:
    model = WanTransformer(TINY).eval().requires_grad_(False)
    model.load_state_dict(published(THEIRS().state_dict()))
    return model


@cache_of
def context() -> Context:
    return ours().context(TEXT)


def frames(seed: int, count: int, batch: int = 1) -> Tensor:
    return normal(seed, batch, TINY.in_channels, count, ROWS, COLUMNS)


def make_cache(window: int, sink: int = 0, chunk: int = 3, relative_: bool = True, batch: int = 1) -> KVCache:
    return KVCache(TINY, ROWS, COLUMNS, window, chunk=chunk, sink=sink, relative=relative_, batch=batch)


def recomputed(sizes: Sequence[int], clean: Tensor, noisy: Tensor, processor: object, text: Tensor = TEXT) -> Tensor:
    """The last chunk's velocity by diffusers over the whole past, which is at timestep 0."""
    model = causal(THEIRS(), processor)  # type: ignore[arg-type]
    end = sum(sizes)
    begin = end - sizes[-1]
    x = torch.cat([clean[:, :, :begin], noisy[:, :, begin:end]], 2)
    time = torch.zeros(x.shape[0], end)
    time[:, begin:] = NOISY
    return model(x, per_token(time, FRAME), text).sample[:, :, begin:]


def worst(sizes: Sequence[int], window: int, sink: int, relative_: bool) -> float:
    """The largest error over all chunks of a session."""
    total = sum(sizes)
    clean, noisy = frames(10, total), frames(11, total)
    cache = make_cache(window, sink, max(sizes), relative_)
    found = []
    for number, (chunk, _) in enumerate(attended_frames(sizes, window, sink)):
        part = slice(chunk.start, chunk.stop)
        process = (relative if relative_ else masked)(sizes[: number + 1], window, sink, FRAME)
        for _ in range(2):  # denoising passes leave no trace
            velocity = ours().chunk(noisy[:, :, part], torch.tensor([NOISY]), context(), cache)
            found.append(error(velocity, recomputed(sizes[: number + 1], clean, noisy, process)))
        ours().chunk(clean[:, :, part], torch.zeros(1, len(chunk)), context(), cache, commit=True)
        assert cache.next == chunk.stop
    print(f"max relative error {max(found):.1e}")
    return max(found)


@pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 1, 1, 1), (1, 3, 3)])
@pytest.mark.parametrize("relative_", [True, False])
def test_global_attention(sizes: tuple[int, ...], relative_: bool) -> None:
    """With a window that holds everything, positions relative to the cache are the absolute ones: one mask for both."""
    clean, noisy = frames(10, sum(sizes)), frames(11, sum(sizes))
    assert worst(sizes, GLOBAL, 0, relative_) <= TOLERANCE
    by_mask = recomputed(sizes, clean, noisy, masked(sizes, GLOBAL, 0, FRAME))
    by_loop = recomputed(sizes, clean, noisy, relative(sizes, GLOBAL, 0, FRAME))
    assert error(by_mask, by_loop) <= TOLERANCE


@pytest.mark.parametrize(("window", "sink"), [(6, 0), (7, 0), (9, 3), (8, 2), (6, 3), (3, 0)])
@pytest.mark.parametrize("relative_", [True, False])
def test_rolling_window_and_sink(window: int, sink: int, relative_: bool) -> None:
    assert worst([3] * 6, window, sink, relative_) <= TOLERANCE


@pytest.mark.parametrize("relative_", [True, False])
def test_frame_by_frame_with_a_sink(relative_: bool) -> None:
    assert worst([1] * 8, 5, 2, relative_) <= TOLERANCE


def test_the_first_frame_alone() -> None:
    """1 + 3 + 3 …: the sink is filled by two chunks, the ring is no multiple of the chunk."""
    assert worst([1, 3, 3, 3, 3, 3], 9, 2, True) <= TOLERANCE


def test_a_relative_sink_differs_from_an_absolute_one_once_the_window_rolls() -> None:
    sizes = [3] * 5
    clean, noisy = frames(10, 15), frames(11, 15)
    kinds = [recomputed(sizes, clean, noisy, kind(sizes, 9, 3, FRAME)) for kind in (masked, relative)]
    assert error(kinds[0], kinds[1]) > 10 * TOLERANCE


def filled(cache: KVCache, clean: Tensor) -> Tensor:
    """Commit clean frames chunk by chunk, and return the velocity of noise after them."""
    for part in clean.split(cache.chunk, 2):
        ours().chunk(part, torch.zeros(part.shape[0]), context(), cache, commit=True)
    return probe(cache)


def probe(cache: KVCache, seed: int = 99) -> Tensor:
    noise = frames(seed, cache.chunk, cache.batch)
    return ours().chunk(noise, torch.full((cache.batch,), NOISY), context(), cache)


def test_batch_is_each_alone() -> None:
    clean = frames(20, 12, batch=2)
    both = make_cache(6, 0, batch=2)
    velocity = filled(both, clean)
    for i in range(2):
        alone = make_cache(6, 0)
        for part in clean[i : i + 1].split(3, 2):
            ours().chunk(part, torch.zeros(1), context(), alone, commit=True)
        noise = frames(99, 3, 2)[i : i + 1]
        found = error(velocity[i : i + 1], ours().chunk(noise, torch.tensor([NOISY]), context(), alone))
        assert found < 1e-5


@pytest.mark.parametrize("frames_", [6, 12])
def test_recache_is_the_same_as_a_session_under_the_new_prompt(frames_: int) -> None:
    """All frames again, so that nothing of the old prompt is left."""
    clean = frames(30, frames_)
    cache = make_cache(9, 3)
    filled(cache, clean)
    new = ours().context(normal(5, 1, TINY.text_len, 16))
    ours().recache(clean, new, cache, keep_sink=False)
    sizes, noisy = [3] * (frames_ // 3 + 1), frames(31, frames_ + 3)
    velocity = ours().chunk(noisy[:, :, frames_:], torch.tensor([NOISY]), new, cache)
    text = normal(5, 1, TINY.text_len, 16)
    expected = recomputed(sizes, torch.cat([clean, clean[:, :, :3]], 2), noisy, relative(sizes, 9, 3, FRAME), text)
    assert error(velocity, expected) <= TOLERANCE


def test_recache_of_the_newest_frames_is_the_same_as_a_session_that_begins_with_them() -> None:
    clean = frames(32, 18)
    cache, fresh = make_cache(9, 3), make_cache(9, 3)
    filled(cache, clean)
    ours().recache(clean[:, :, 9:], context(), cache, keep_sink=False)
    assert cache.next == 18
    assert error(probe(cache), filled(fresh, clean[:, :, 9:])) <= TOLERANCE


def test_recache_keeps_the_sink_where_asked() -> None:
    """LongLive's global sink: the old prompt's keys stay before what is written again."""
    clean = frames(33, 15)
    cache = make_cache(9, 3)
    filled(cache, clean)
    start = cache.chunk * cache.tokens
    sink = cache.values[:, :, start : start + 3 * cache.tokens].clone()
    new = ours().context(normal(6, 1, TINY.text_len, 16))
    ours().recache(clean[:, :, 9:], new, cache)
    assert torch.equal(cache.values[:, :, start : start + 3 * cache.tokens], sink)
    joined = make_cache(9, 3)  # the same by hand: the sink's frames under the old prompt, the newest under the new
    ours().chunk(clean[:, :, :3], torch.zeros(1), context(), joined, commit=True)
    for part in clean[:, :, 9:].split(3, 2):
        ours().chunk(part, torch.zeros(1), new, joined, commit=True)
    assert error(probe(cache), probe(joined)) <= TOLERANCE


@pytest.mark.parametrize("sink", [0, 3])
def test_recache_in_one_bidirectional_pass(sink: int) -> None:
    """As LongLive v1.0's code does: nine frames see each other and the sink, and then serve as the past."""
    clean = frames(34, 12)
    cache = make_cache(12, sink)
    filled(cache, clean)
    count = 12 - sink
    ours().recache(clean[:, :, sink:], context(), cache, bidirectional=True)
    noisy = frames(99, 3)
    x = torch.cat([clean, noisy], 2)
    sizes = ([sink] if sink else []) + [count, 3]
    # the reference's last chunk sees the sink and the newest frames of the window
    found = ours().chunk(noisy, torch.tensor([NOISY]), context(), cache)
    assert error(found, recomputed(sizes, x, x, relative_of_last(sizes, 12, sink))) <= TOLERANCE


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_kept_sink_takes_the_place_of_the_oldest_frames(bidirectional: bool) -> None:
    """A whole window may be handed over: what no longer fits beside the sink is left out, as in LongLive."""
    clean = frames(35, 15)
    new = ours().context(normal(6, 1, TINY.text_len, 16))
    velocities = []
    for count in (9, 6):
        cache = make_cache(9, 3)
        filled(cache, clean)
        ours().recache(clean[:, :, -count:], new, cache, bidirectional=bidirectional)
        velocities.append(probe(cache))
    assert torch.equal(*velocities)


def relative_of_last(sizes: Sequence[int], window: int, sink: int) -> object:
    """`relative`, but chunks before the last see all frames before them: their passes are longer than a chunk."""
    plain, rolled = relative(sizes, 10**6, sink, FRAME), relative(sizes, window, sink, FRAME)
    tail = sizes[-1] * FRAME

    def process(*given: object) -> Tensor:
        return torch.cat([plain(*given)[:, :-tail], rolled(*given)[:, -tail:]], 1)

    return process


def test_recache_beyond_the_start_is_refused() -> None:
    cache = make_cache(9)
    filled(cache, frames(1, 3))
    with pytest.raises(ValueError, match="6 frames cannot be written again after 3 frames"):
        ours().recache(frames(1, 6), context(), cache)


@pytest.mark.parametrize("sink", [0, 1])
def test_more_than_1024_latent_frames(sink: int) -> None:
    """Upstream's table of positions ends there; ours does not grow."""
    config = replace(TINY, dim=12, ffn_dim=16, heads=1, layers=1)
    model = WanTransformer(config).eval().requires_grad_(False)
    prompt = model.context(TEXT)
    cache, late = KVCache(config, 2, 2, 10, chunk=5, sink=sink), KVCache(config, 2, 2, 10, chunk=5)
    time = torch.zeros(1)
    velocities = []
    for number in range(210):
        x = normal(number, 1, 4, 5, 2, 2)
        velocities.append(model.chunk(x, time, prompt, cache, commit=True))
        if number >= 208:
            velocities.append(model.chunk(x, time, prompt, late, commit=True))
    assert cache.next == 1050
    assert torch.isfinite(torch.stack(velocities)).all()
    if not sink:  # the newest frames alone, at the start of a session: the same velocity
        assert error(velocities[-2], velocities[-1]) <= TOLERANCE


def test_what_a_chunk_sees_far_into_a_session_is_what_it_sees_early() -> None:
    """A sink and a window of the same frames, at frame 12 and at frame 100,000."""
    sink, near = frames(40, 3), frames(41, 6)
    velocities = []
    for skipped in (3, 100_000):
        cache = make_cache(9, 3)
        ours().chunk(sink, torch.zeros(1), context(), cache, commit=True)
        cache.next += skipped
        cache.rewind(0)
        for part in near.split(3, 2):
            ours().chunk(part, torch.zeros(1), context(), cache, commit=True)
        velocities.append(probe(cache))
    assert error(velocities[0], velocities[1]) <= TOLERANCE


def test_actions_know_which_pass_commits() -> None:
    class Still(nn.Module):
        pass

    model = WanTransformer(TINY, lambda layer: Still() if layer == 0 else None).eval()
    calls: list[tuple[Grid, int, bool]] = []

    def actions(module: nn.Module, x: Tensor, grid: Grid, layer: int, commit: bool) -> Tensor:
        assert isinstance(module, Still)
        calls.append((grid, layer, commit))
        return x

    cache = make_cache(6)
    prompt = model.context(TEXT)
    for commit in (False, True):
        model.chunk(frames(1, 3), torch.zeros(1), prompt, cache, commit=commit, actions=actions)
    assert calls == [((3, 2, 3), 0, False), ((3, 2, 3), 0, True)]


def test_nothing_waits_for_the_device() -> None:
    """On the meta device a tensor has no contents: `.item()`, a branch or a copy to the host would raise."""
    config = replace(WAN_1_3B, layers=2)
    with torch.device("meta"):
        with pytest.raises(RuntimeError, match="meta"):
            torch.empty(1).item()
        model = WanTransformer(config).cast(torch.bfloat16)
        cache = KVCache(config, 60, 104, 12, sink=3, dtype=torch.bfloat16)
        prompt = model.context(torch.empty(1, 512, 4096))
        for commit in (False, True) * 4:
            x, time = torch.empty(1, 16, 3, 60, 104), torch.empty(1, 3)
            velocity = model.chunk(x, time, prompt, cache, commit=commit)
            assert velocity.shape == x.shape
    assert cache.next == 12


def test_another_cache_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the cache is for 1 x \(2, 3\) tokens a frame, not 2 x \(2, 3\)"):
        ours().chunk(frames(1, 3, 2), torch.zeros(2), context(), make_cache(6))
    half = KVCache(TINY, ROWS, COLUMNS, 6, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"the cache holds torch.bfloat16, the model works in torch.float32"):
        ours().chunk(frames(1, 3), torch.zeros(1), context(), half)
    cache = make_cache(6)
    filled(cache, frames(1, 3))
    with pytest.raises(ValueError, match="chunks of 1 to 3 frames, got 4"):
        ours().chunk(frames(1, 4), torch.zeros(1), context(), cache)
