"""Attention in eight bits: its scales, its twin beside an independent one, and the cache that keeps float8."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.worlds.wan.test_chunk_graph import busy, differ
from tests.worlds.wan.test_kv_cache import COLUMNS, CONFIG, ROWS, SIZES, joined
from tests.worlds.wan.test_rollout import TEXT, model, randomly
from worldstream.kernels.qk_norm_rope import qk_norm_rope
from worldstream.kernels.reference import as_bytes, quantised
from worldstream.worlds.core import Frame
from worldstream.worlds.wan import attention_choice, fused_transformer
from worldstream.worlds.wan.attention import attend
from worldstream.worlds.wan.attention_choice import CUDNN_PLANS, PLAIN, AttentionShape, Candidate, Choice, Say
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_fused_graph import FusedGraphStep
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.eight_attention import (
    STORED,
    AttentionScales,
    EightRows,
    LayerScales,
    attend_eight,
    exact,
    powers_of_two,
)
from worldstream.worlds.wan.fp8_matmul import compute_fp8
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.fused_transformer import joined as both
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.rollout import WanModel, WanRollout
from worldstream.worlds.wan.transformer import WanTransformer


def scales(largest: float = 20.0, layers: int = 2) -> AttentionScales:
    bound = torch.full((layers,), largest)
    return AttentionScales(bound, bound)


def drawn(queries: int, keys: int, seed: int = 1, sharp: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, n, 3, 16, generator=g) for n in (queries, keys, keys))
    return q * sharp, k, v


def cast(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, LayerScales]:
    found = scales()
    found.fit(1, v)
    found.fit_out(1, attend(q, k, v))
    layer = found.layers[1]
    return quantised(q, layer.queries), quantised(k, layer.keys), quantised(v, layer.values), layer


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_scales_are_powers_of_two_that_cut_nothing_off(largest: float, other: float) -> None:
    bound = torch.tensor([largest, other])
    found = AttentionScales(bound, bound * 3)
    for layer, most in zip(found.layers, bound, strict=True):
        for scale, limit in ((layer.queries, most), (layer.keys, 3 * most)):
            assert float(torch.frexp(scale).mantissa) == 0.5
            assert 224 <= float(limit / scale) <= 448
    assert {part.data_ptr() % 16 for layer in found.layers for part in (layer.queries, layer.out_factor)} == {0}


def test_no_key_of_a_model_is_cut_off() -> None:
    """The longest that a normalised row can make one: all of it in the channel with the largest weight, turned."""
    transformer = eight("longlive")[1].transformer
    assert isinstance(transformer, FusedTransformer)
    attention = transformer._blocks()[1].self_attn
    weight, dim, heads = attention.norm_k.weight, transformer.config.dim, attention.heads
    row = torch.zeros(1, 1, dim)
    row[..., int(weight.abs().argmax())] = 1e4
    found = transformer.choose_attention(2, 3, 9, lambda line: None)
    assert found is not None
    layer, rings = found.layers[1], torch.zeros(2, 1, 1, heads, dim // heads).to(STORED)
    angle = torch.linspace(0, 1, dim // heads // 2)[None]
    qk_norm_rope(
        row, row, row, weight.float(), weight.float(), angle.cos(), angle.sin(), torch.zeros(1, dtype=torch.long),
        rings[0], rings[1], eps=1e-6, scales=(layer.queries, layer.keys, layer.values),
    )  # fmt: skip
    exact_length = float(weight.abs().amax()) * dim**0.5
    assert rings[0].float().abs().max() < 448
    assert float(rings[0].float().norm() * layer.keys) == pytest.approx(exact_length, rel=0.07)


def test_values_may_grow_and_averages_are_cast_as_they_are() -> None:
    found, v = scales(), torch.randn(1, 50, 3, 16, generator=torch.Generator().manual_seed(2))
    before = found.of_walk()
    found.fit(0, v)
    layer = found.layers[0]
    assert 8 * v.abs().amax() < 448 * layer.values <= 32 * v.abs().amax(), "sixteen times as large, to a power of two"
    assert torch.equal(layer.out, layer.values)
    found.fit_out(0, v / 100)
    assert layer.out < layer.values / 50
    assert torch.equal(layer.out * layer.out_factor, torch.ones(1))
    small = layer.out.clone()
    found.fit(0, v)
    assert torch.equal(layer.out, small), "a later chunk of values does not forget the averages"
    found.put_back(before)
    assert torch.equal(layer.values, torch.ones(1))


def tiled(q: Tensor, k: Tensor, v: Tensor, layer: LayerScales, tile: int) -> Tensor:
    """Float64 `[B, N, H * d]`, tile of keys by tile of keys with the sums made smaller where a larger score comes, as
    the libraries do it: probabilities are cast relative to the largest so far, which may be smaller than the last."""
    a, b, c = (x.double().transpose(1, 2) for x in (q, k, v))
    most, total, sums = torch.full((*a.shape[:3], 1), -torch.inf).double(), torch.zeros(()), torch.zeros(())
    for first in range(0, b.shape[2], tile):
        scores = a @ b[:, :, first : first + tile].transpose(2, 3) * float(layer.queries * layer.keys) / 4
        highest = torch.maximum(most, scores.amax(-1, keepdim=True))
        shrunk, weights = (most - highest).exp(), (scores - highest).exp()
        low = (weights.float() * 16).to(STORED).double() / 16
        total, sums, most = (
            total * shrunk + weights.sum(-1, keepdim=True),
            sums * shrunk + low @ c[:, :, first : first + tile],
            highest,
        )
    return (sums / total).transpose(1, 2).flatten(2) * float(layer.values)


@pytest.mark.parametrize("sharp", [0.1, 1.0, 4.0])
def test_the_twin_rounds_as_a_library_does(sharp: float) -> None:
    q, k, v = drawn(20, 300, sharp=sharp)
    given = cast(q, k, v)
    layer = given[3]
    ours = attend_eight(*given)
    assert ours.bytes.dtype == STORED
    assert ours.bytes.shape == (2, 20, 48)
    for tile in (300, 64):
        theirs = quantised(tiled(*given, tile).float(), layer.out).float() * layer.out
        off = (ours.exact(torch.float32) - theirs).norm() / theirs.norm()
        assert off < (1e-3 if tile == 300 else 0.05), "the same, but for the order in which the largest is found"
    true = attend(q, k, v)
    error = (ours.exact(torch.float32) - true).norm() / true.norm()
    assert 0.02 < error < 0.15
    rest = attend(*(exact(x, scale, torch.float32) for x, scale in zip(given[:3], layer_of(layer), strict=True)))
    assert (ours.exact(torch.float32) - rest).norm() / rest.norm() < 0.05, "of probabilities and the result alone"


def layer_of(layer: LayerScales) -> tuple[Tensor, Tensor, Tensor]:
    return layer.queries, layer.keys, layer.values


def test_a_channel_of_large_values_leaves_the_others_their_bits() -> None:
    q, k, v = drawn(20, 2000)
    v[..., 3] *= 100
    ours, true = attend_eight(*cast(q, k, v)).exact(torch.float32), attend(q, k, v)
    rest = torch.arange(48) % 16 != 3
    assert (ours[..., rest] - true[..., rest]).norm() / true[..., rest].norm() < 0.09


@settings(max_examples=40)
@given(st.lists(st.one_of(st.integers(1, 3), st.sampled_from(["rewind", "snapshot", "reset"])), max_size=12), SIZES)
def test_a_cache_of_eight_bits_is_the_other_cache_rounded_once(
    commands: list[int | str], sizes: tuple[int, int]
) -> None:
    """Bit for bit, whatever happens: chunks, a rolling ring, a sink that is turned, rewinding, snapshots."""
    window, sink = sizes
    found = scales()
    caches = (
        KVCache(CONFIG, ROWS, COLUMNS, window, sink=sink),
        KVCache(CONFIG, ROWS, COLUMNS, window, sink=sink, scales=found),
    )
    assert caches[1].allocated == KVCache.bytes(CONFIG, window, 2, torch.float32, sink=sink, eight=True) + found.nbytes
    name = 0
    for command in commands:
        if command == "reset":
            for cache in caches:
                cache.reset()
        elif command == "rewind":
            for cache in caches:
                cache.rewind(min(2, cache.next))
        elif command == "snapshot":
            states = [cache.snapshot() for cache in caches]
            found.fit(0, torch.full((4,), 1e3))
            for cache, state in zip(caches, states, strict=True):
                cache.keys.view(torch.uint8).zero_()
                cache.restore(state)
        else:
            assert isinstance(command, int)
            names, name = list(range(name, name + command)), name + command
            plans = [cache.begin(command, True) for cache in caches]
            for layer in range(CONFIG.layers):
                k, v = joined(names, layer)
                wide, low = (c.attended(layer, k, v, plan) for c, plan in zip(caches, plans, strict=True))
                for number, got, scale in zip(wide, low, layer_of(found.layers[layer])[1:], strict=True):
                    assert torch.equal(got, quantised(number, scale).float() * scale)
                raw = caches[1].seen(layer, plans[1])
                caches[0].keep(layer, k, *wide, plans[0])
                caches[1].keep(layer, k, *(raw if layer else low), plans[1])
            for cache, plan in zip(caches, plans, strict=True):
                cache.advance(plan)


def test_snapshots_of_another_precision_are_refused() -> None:
    wide, low = KVCache(CONFIG, ROWS, COLUMNS, 6), KVCache(CONFIG, ROWS, COLUMNS, 6, scales=scales())
    with pytest.raises(ValueError, match=r"torch.float32 does not fit a cache of torch.float8_e4m3fn"):
        low.restore(wide.snapshot())
    with pytest.raises(ValueError, match=r"torch.float8_e4m3fn does not fit a cache of torch.float32"):
        wide.restore(low.snapshot())


def eight(name: str) -> tuple[WanModel, WanModel, WanModel]:
    """A model of three blocks in float32; with attention in eight bits; and with the middle one's products too."""
    m, config = model(name), replace(TEXT, dim=32, ffn_dim=64, layers=3)
    network = randomly(WanTransformer(config))
    assert isinstance(network, WanTransformer)
    low = copy.deepcopy(network)
    compute_fp8(low)
    fused = [FusedTransformer.of(copy.deepcopy(n), attention="always") for n in (network, low)]
    return replace(m, transformer=network), replace(m, transformer=fused[0]), replace(m, transformer=fused[1])


def stepper(m: WanModel) -> EagerStep:
    return EagerStep(m.transformer, m.preset, 2, 4, m.window)


def test_inside_the_fused_pass() -> None:
    """Beside the exact pass on the same chunks: the window rolls and the sink is turned. The cache really is float8."""
    models, g = eight("longlive"), torch.Generator().manual_seed(3)
    steps = [stepper(m) for m in models]
    assert [step.cache.keys.dtype for step in steps] == [torch.float32, STORED, STORED]
    words = torch.randn(1, 5, models[0].transformer.config.text_dim, generator=g)
    contexts = [m.transformer.context(words) for m in models]
    for i in range(6):
        x = torch.randn(1, 16, 3, 2, 4, generator=g)
        wide, attention, all_low = (
            step.transformer.chunk(x, torch.tensor([500.0]), context, step.cache, commit=True)
            for step, context in zip(steps, contexts, strict=True)
        )
        assert 1e-4 < (attention - wide).norm() / wide.norm() < 0.05
        assert 1e-3 < (all_low - wide).norm() / wide.norm() < 0.1
        assert i == 0 or not torch.equal(attention, all_low)


def test_pairs() -> None:
    g = torch.Generator().manual_seed(4)
    chunks = [torch.randn(1, 16, 3, 2, 4, generator=g) for _ in range(6)]
    models = eight("longlive")
    words = torch.randn(1, 5, models[0].transformer.config.text_dim, generator=g)
    steps = [stepper(m) for m in models]
    contexts = [step.transformer.context(words) for step in steps]
    for clean, noisy in pairwise(chunks):
        wide, *low = (
            step.transformer.chunk_pair(clean, noisy, (0.0, 700.0), context, step.cache)
            for step, context in zip(steps, contexts, strict=True)
        )
        for out in low:
            assert 1e-4 < (out - wide).norm() / wide.norm() < 0.1


def test_parts_of_different_kinds_are_joined() -> None:
    rows = EightRows(torch.ones(1, 2, 4).to(STORED), torch.tensor([0.5]))
    mixed = both(rows, torch.ones(1, 1, 4))
    assert isinstance(mixed, Tensor)
    assert torch.equal(mixed, torch.tensor([0.5, 0.5, 1.0])[None, :, None].expand(1, 3, 4))
    kept = both(rows, rows)
    assert isinstance(kept, EightRows)
    assert kept.bytes.shape == (1, 4, 4)


def walk(m: WanModel, blocks: int, kind: type[EagerStep]) -> list[Frame]:
    rollout = WanRollout(replace(m, step=kind))
    rollout.reset(7, "a red forest")
    first = [frame for i in range(blocks) for frame in rollout.step(busy(i))]
    rollout.reset(7, "a red forest")
    again = [frame for i in range(2) for frame in rollout.step(busy(i))]
    assert differ(first[: len(again)], again) == 0, "a new walk finds scales of its own"
    return first


@pytest.mark.parametrize(("plain", "recorded"), [(EagerStep, GraphStep), (FusedStep, FusedGraphStep)])
def test_recorded(plain: type[EagerStep], recorded: type[EagerStep]) -> None:
    m = eight("causal-forcing-framewise-1step")[2]
    assert differ(walk(m, 7, plain), walk(m, 7, recorded)) <= 1


def test_only_who_asks_gets_it() -> None:
    network = eight("longlive")[0].transformer
    low = copy.deepcopy(network)
    compute_fp8(low, ())
    for attention in ("measured", "never"):
        made = FusedTransformer.of(copy.deepcopy(low), attention)
        assert EagerStep(made, model("longlive").preset, 2, 4, 9).cache.scales is None, "nothing was measured on a CPU"
    with pytest.raises(ValueError, match="one of measured, always, never, got 'fp8'"):
        FusedTransformer.of(network, "fp8")


def test_powers_of_two() -> None:
    largest = torch.tensor([0.0, 448.0, 449.0, 1e-3, 3e38])
    found = powers_of_two(largest).tolist()
    assert found[1:4] == [2.0, 2.0, 2.0**-18]
    assert found[0] > 0
    assert found[4] < float("inf")


@pytest.mark.parametrize(
    ("attention", "products"), [("measured", True), ("measured", False), ("always", False), ("never", True)]
)
def test_what_is_measured_on_a_gpu(attention: str, products: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight bits are candidates for the past alone, where they may be; a library that has to be there is asked for."""
    network = copy.deepcopy(eight("longlive")[0].transformer)
    if products:
        compute_fp8(network)
    made = FusedTransformer.of(network, attention)
    asked: list[tuple[int, list[str]]] = []

    def choose(shape: AttentionShape, device: torch.device, ways: Iterator[Candidate], say: Say) -> Choice:
        names = [way.name for way in ways]
        asked.append((shape.keys, names))
        low = any("fp8" in name for name in names)
        return Choice(names[-1], attend, {}, lambda: None, attend_eight if low else None) if names else PLAIN

    monkeypatch.setattr(fused_transformer, "choose", choose)
    monkeypatch.setattr(attention_choice, "_installed", lambda package: package == "cudnn")
    monkeypatch.setattr(FusedTransformer, "device", torch.device("cuda"))
    own = ["cudnn", "flash", "efficient"]
    found = made.choose_attention(2, 3, 9, lambda line: None)
    low = attention == "always" or (attention == "measured" and products)
    to_the_past = own * (attention != "always") + list(CUDNN_PLANS) * low
    assert asked == [(18, to_the_past), (made.config.text_len, own)]
    assert (found is not None) == ("cuDNN fp8" in to_the_past) == (made.attends_eight is not None)
    monkeypatch.setattr(attention_choice, "_installed", lambda package: False)
    made.choices.clear()
    if attention == "always":
        with pytest.raises(RuntimeError, match="pip install nvidia-cudnn-frontend"):
            made.choose_attention(2, 3, 9, lambda line: None)
    else:
        assert made.choose_attention(2, 3, 9, lambda line: None) is None


def test_a_commit_that_asks_for_no_velocity_remembers_the_same() -> None:
    """Keys, values and scales, to the bit; also where a walk begins with a commit, which finds what the scales are."""
    _, ours, _ = eight("longlive")
    steps = [stepper(ours) for _ in range(2)]
    transformer, g = steps[0].transformer, torch.Generator().manual_seed(6)
    context = transformer.context(torch.randn(1, 5, transformer.config.text_dim, generator=g))
    for _ in range(3):
        x = torch.randn(1, 16, 3, 2, 4, generator=g)
        transformer.chunk(x, torch.zeros(1), context, steps[0].cache, commit=True)
        transformer.commit(x, torch.zeros(1), context, steps[1].cache)
        caches = [step.cache for step in steps]
        assert torch.equal(*(as_bytes(cache.keys) for cache in caches))
        assert torch.equal(*(as_bytes(cache.values) for cache in caches))
        levels = [cache.scales.of_walk() for cache in caches if cache.scales is not None]
        assert torch.equal(*levels)
