"""The fused pass equals the plain one, through the operators' plain twins: same walks, same caches."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.test_chunk_graph import busy, differ
from tests.worlds.wan.test_rollout import TEXT, model, picture, randomly
from worldstream.kernels.quantise_rows import quantise_rows
from worldstream.worlds.core import Frame
from worldstream.worlds.wan import products
from worldstream.worlds.wan.attention import attend
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.fp8 import store_fp8
from worldstream.worlds.wan.fp8_matmul import compute_fp8
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.rollout import WanModel, WanRollout
from worldstream.worlds.wan.transformer import WanTransformer

NAMES = ("longlive", "matrix-game-2-gta-drive")


def fused(name: str) -> WanModel:
    m = model(name)
    return replace(m, transformer=FusedTransformer.of(copy.deepcopy(m.transformer)))


def stepper(m: WanModel) -> EagerStep:
    return EagerStep(m.transformer, m.preset, 2, 4, m.window)


def walk(m: WanModel, blocks: int, kind: type[EagerStep] = EagerStep) -> list[Frame]:
    rollout = WanRollout(replace(m, step=kind))
    rollout.reset(7, "a red forest", picture(2) if "walk" in m.preset.controls else None)
    return [frame for i in range(blocks) for frame in rollout.step(busy(i))]


@pytest.mark.parametrize("name", NAMES)
def test_fused_walks_equal_plain_ones(name: str) -> None:
    """Seven blocks: the window rolls, words change and are read again, actions change."""
    plain, ours = walk(model(name), 7), walk(fused(name), 7)
    assert differ(plain, ours) <= 1
    assert np.stack([f.rgb for f in ours[-12:]]).std() > 5


def test_velocity_and_cache_are_the_same_numbers() -> None:
    plain, ours = stepper(model("longlive")), stepper(fused("longlive"))
    g = torch.Generator().manual_seed(1)
    words = torch.randn(1, 5, plain.transformer.config.text_dim, generator=g)
    contexts = [step.transformer.context(words) for step in (plain, ours)]
    for _ in range(6):
        x = torch.randn(1, 16, 3, 2, 4, generator=g)
        out = [
            step.transformer.chunk(x, torch.tensor([500.0]), context, step.cache, commit=True)
            for step, context in zip((plain, ours), contexts, strict=True)
        ]
        assert (out[0] - out[1]).abs().max() <= 1e-4 * out[0].abs().max()
        assert torch.allclose(plain.cache.keys, ours.cache.keys, atol=1e-4)
        assert torch.allclose(plain.cache.values, ours.cache.values, atol=1e-4)


def test_fused_and_recorded() -> None:
    m = fused("longlive")
    assert differ(walk(m, 7), walk(m, 7, GraphStep)) <= 1


def test_weights_are_shared_not_doubled() -> None:
    m = copy.deepcopy(model("longlive").transformer)
    before = {name: p.shape for name, p in m.named_parameters()}
    made = FusedTransformer.of(m)
    assert {name: p.shape for name, p in made.named_parameters()} == before
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in made.parameters()}
    assert sum(storages.values()) == sum(p.nbytes for p in made.parameters())


def test_models_that_cannot_be_fused_say_so() -> None:
    m = copy.deepcopy(model("longlive").transformer)
    store_fp8(m)
    with pytest.raises(ValueError, match="block 0 has layers that cannot be fused"):
        FusedTransformer.of(m)


def eight(name: str) -> tuple[WanModel, WanModel, WanModel]:
    """A model of three blocks in float32; with the middle one in eight bits; and that fused."""
    m, config = model(name), replace(TEXT, dim=32, ffn_dim=64, layers=3)
    exact = randomly(WanTransformer(config))
    assert isinstance(exact, WanTransformer)
    small = copy.deepcopy(exact)
    assert compute_fp8(small) == 10
    made = FusedTransformer.of(copy.deepcopy(small))
    return replace(m, transformer=exact), replace(m, transformer=small), replace(m, transformer=made)


def test_eight_bits_inside_the_fused_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers as layers in eight bits one by one, but that norms and activations are not rounded before; only
    what an attention gives is cast by itself: twice in a block."""
    casts: list[torch.Size] = []
    real = quantise_rows

    def counted(x: Tensor) -> tuple[Tensor, Tensor]:
        casts.append(x.shape)
        return real(x)

    models, g = eight("longlive"), torch.Generator().manual_seed(3)
    steps = [stepper(m) for m in models]
    words = torch.randn(1, 5, models[0].transformer.config.text_dim, generator=g)
    contexts = [m.transformer.context(words) for m in models]
    assert isinstance(steps[2].transformer, FusedTransformer)
    blocks = sum(p.eight for p in steps[2].transformer._products)
    assert blocks == 1
    for i in range(5):
        x = torch.randn(1, 16, 3, 2, 4, generator=g)
        monkeypatch.setattr(products, "quantise_rows", counted)
        exact, plain, fused_ = (
            step.transformer.chunk(x, torch.tensor([500.0]), context, step.cache, commit=True)
            for step, context in zip(steps, contexts, strict=True)
        )
        assert len(casts) == 2 * blocks * (i + 1)
        assert 2e-3 < (fused_ - exact).norm() / exact.norm() < 0.1, "it really is eight bits, and they are enough"
        assert (fused_ - plain).norm() <= 0.5 * (plain - exact).norm()


def test_pairs_are_fused_too() -> None:
    """The pass that commits a chunk and begins the next: plain and fused, in sixteen bits and in eight."""
    g = torch.Generator().manual_seed(4)
    chunks = [torch.randn(1, 16, 3, 2, 4, generator=g) for _ in range(6)]
    exact, _, small = eight("longlive")
    whole = replace(exact, transformer=FusedTransformer.of(copy.deepcopy(exact.transformer)))
    words = torch.randn(1, 5, exact.transformer.config.text_dim, generator=g)
    steps = [stepper(m) for m in (exact, whole, small)]
    contexts = [step.transformer.context(words) for step in steps]
    for clean, noisy in pairwise(chunks):
        out = [
            step.transformer.chunk_pair(clean, noisy, (0.0, 700.0), context, step.cache)
            for step, context in zip(steps, contexts, strict=True)
        ]
        assert (out[0] - out[1]).abs().max() <= 1e-4 * out[0].abs().max()
        assert 2e-3 < (out[2] - out[0]).norm() / out[0].norm() < 0.1
        assert torch.allclose(steps[0].cache.keys, steps[1].cache.keys, atol=1e-4)


def test_eight_bits_recorded() -> None:
    _, _, m = eight("causal-forcing-framewise-1step")
    assert differ(walk(m, 6), walk(m, 6, GraphStep)) <= 1


@pytest.mark.parametrize("sink", [0, 1])
def test_a_commit_that_asks_for_no_velocity_remembers_the_same(sink: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, in all layers, while the ring rolls; of the last block only keys and values are made."""
    m = fused("longlive").transformer
    assert isinstance(m, FusedTransformer)
    g = torch.Generator().manual_seed(5)
    words = m.context(torch.randn(1, 5, m.config.text_dim, generator=g))
    whole, ours = (KVCache(m.config, 2, 4, 8, sink=sink) for _ in range(2))
    asked: list[int] = []

    def counted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        asked.append(k.shape[1])
        return attend(q, k, v)

    monkeypatch.setattr(m, "attends", counted)
    still = torch.zeros(1)
    for _ in range(5):
        x = torch.randn(1, m.config.in_channels, 3, 2, 4, generator=g)
        m.chunk(x, still, words, whole, commit=True)
        before = len(asked)
        m.commit(x, still, words, ours)
        assert len(asked) - before == m.config.layers - 1
        assert torch.equal(whole.keys, ours.keys)
        assert torch.equal(whole.values, ours.values)
    noisy = torch.randn(1, m.config.in_channels, 3, 2, 4, generator=g)
    given = (noisy, torch.tensor([500.0]), words)
    assert torch.equal(m.chunk(*given, whole), m.chunk(*given, ours))
    assert whole.snapshot().next == ours.snapshot().next == 15


def test_a_commit_runs_whole_where_the_last_block_remembers_actions() -> None:
    """Its action module has a cache of its own, which comes after keys and values."""
    m = fused("matrix-game-2-gta-drive").transformer
    c, seen = m.config, []
    context = m.context(image=torch.randn(1, c.image_tokens, c.image_dim or 0))

    def acts(module: nn.Module, x: Tensor, grid: tuple[int, int, int], layer: int, commit: bool) -> Tensor:
        seen.append((layer, commit))
        return x

    x, cache = torch.randn(1, c.in_channels, 3, 2, 4), KVCache(c, 2, 4, 6)
    m.commit(x, torch.zeros(1), context, cache, actions=acts)
    assert seen == [(0, True)]
    m._blocks()[-1].action_model = nn.Identity()
    m.commit(x, torch.zeros(1), context, cache, actions=acts)
    assert seen[1:] == [(0, True), (1, True)]
