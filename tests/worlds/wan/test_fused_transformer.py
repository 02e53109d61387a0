"""The fused pass equals the plain one, through the operators' plain twins: same walks, same caches."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worlds.wan.test_chunk_graph import busy, differ
from tests.worlds.wan.test_rollout import model, picture
from worldstream.worlds.core import Frame
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.fp8 import store_fp8
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.rollout import WanModel, WanRollout

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
