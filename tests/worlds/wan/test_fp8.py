"""Weights in eight bits: how far off, how small, which layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.worlds.wan.wan_reference import COLUMNS, ROWS, TINY, TINY_I2V, error, normal, randomised
from worldstream.worlds.wan.config import WAN_14B
from worldstream.worlds.wan.fp8 import LARGEST, Fp8Linear, quantised, store_fp8, weight_bytes
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vace import WanVace


def linear(scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(40, 24)
    rows = 10.0 ** torch.linspace(-6, 6, 24)  # every row of another size
    layer.weight.data = scale * rows[:, None] * normal(1, 24, 40)
    layer.bias.data = normal(2, 24)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_is_within_half_a_step(dtype: torch.dtype) -> None:
    """One part in 16, or half of the smallest step below the smallest normal number."""
    layer = linear().to(dtype)
    stored, scale = quantised(layer.weight)
    assert stored.dtype == torch.float8_e4m3fn
    back = Fp8Linear(layer).dequantised(dtype).double()
    assert torch.equal(back, stored.double() * scale.double()[:, None]), "using a weight rounds nothing"
    bound = torch.maximum(layer.weight.double().abs() / 16, scale.double()[:, None] * 2.0**-10)
    assert ((back - layer.weight.double()).abs() <= bound).all()


def test_rows_fill_the_range() -> None:
    stored, scale = quantised(linear().weight)
    largest = stored.float().abs().amax(1)
    assert ((largest <= LARGEST) & (largest >= LARGEST / 2.3)).all()
    assert torch.equal(torch.exp2(torch.log2(scale).round()), scale)


def test_a_row_of_zeros_stays_zero() -> None:
    stored, scale = quantised(torch.zeros(2, 3))
    assert (stored.float() == 0).all()
    assert (scale == 1).all()


def test_a_layer_is_its_dequantised_weight() -> None:
    layer, x = linear(1e-3), normal(3, 5, 40)
    small = Fp8Linear(layer)
    exact = x @ small.dequantised(torch.float32).T + layer.bias
    torch.testing.assert_close(small(x), exact)
    assert error(small(x), layer(x)) < 2**-4


def test_casting_leaves_the_eight_bits_alone() -> None:
    small = Fp8Linear(linear(1e-3))
    before = small.weight.view(torch.uint8).clone()
    small.to(torch.bfloat16)
    assert small.weight.dtype == torch.float8_e4m3fn
    assert torch.equal(small.weight.view(torch.uint8), before)
    assert small.bias.dtype == torch.bfloat16
    assert small(normal(3, 5, 40).bfloat16()).dtype == torch.bfloat16


def model() -> WanTransformer:
    built = WanTransformer(replace(TINY_I2V, text_len=24)).eval().requires_grad_(False)
    randomised(built, 0)
    return built


def test_the_layers() -> None:
    """Sixteen in a block with an image of its own; everything outside the blocks and all norms stay."""
    built = model()
    before = {k: v.clone() for k, v in built.state_dict().items()}
    assert store_fp8(built) == 2 * 12
    stored = {k for k, v in built.state_dict().items() if v.dtype == torch.float8_e4m3fn}
    per_block = [f"self_attn.{n}" for n in "qkvo"] + [f"cross_attn.{n}" for n in ("q", "k", "v", "o", "k_img", "v_img")]
    per_block += ["ffn.0", "ffn.2"]
    assert stored == {f"blocks.{i}.{name}.weight" for i in range(2) for name in per_block}
    after = built.state_dict()
    assert set(after) - set(before) == {k.replace("weight", "scale") for k in stored}
    assert all(torch.equal(after[k], v) for k, v in before.items() if k not in stored)
    assert store_fp8(built) == 24  # again: nothing is left to do


def test_action_modules_stay() -> None:
    built = WanTransformer(TINY, lambda _: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    assert store_fp8(built) == 2 * 10
    assert built.state_dict()["blocks.0.action_model.1.weight"].dtype == torch.float32


def test_vace_is_stored_too() -> None:
    built = WanVace(replace(TINY, vace_layers=(0, 1)))
    assert store_fp8(built) == 4 * 10 + 3
    assert isinstance(built.get_submodule("vace_blocks.0.before_proj"), Fp8Linear)


def velocities(built: WanTransformer, dtype: torch.dtype) -> list[Tensor]:
    """Of a clip, and of the second chunk of a session."""
    text, image = normal(3, 1, 24, 16).to(dtype), normal(4, 1, 7, 20).to(dtype)
    context, time = built.context(text, image), torch.tensor([833.3])
    x = normal(1, 1, 8, 3, ROWS, COLUMNS).to(dtype)
    cache = KVCache(built.config, ROWS, COLUMNS, 6, dtype=dtype)
    built.chunk(x, torch.zeros(1), context, cache, commit=True)
    return [built(x, time, context=context), built.chunk(x, time, context, cache)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_velocity_stays_close(dtype: torch.dtype) -> None:
    """With random weights; what it does to pictures only published weights can show."""
    exact = velocities(model(), torch.float32)
    built = model().cast(dtype)
    store_fp8(built)
    for ours, expected in zip(velocities(built, dtype), exact, strict=True):
        assert ours.dtype == dtype
        rms = float((ours.float() - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        print(f"relative rms error {rms:.3f}")
        assert rms < 0.1


def test_the_weights_take_half() -> None:
    """28.6 GB as bfloat16, 14.6 in eight bits."""
    with torch.device("meta"):
        built = WanTransformer(WAN_14B).cast(torch.bfloat16)
        before = weight_bytes(built)
        stored = sum(m.weight.numel() for m in built.blocks.modules() if isinstance(m, nn.Linear))
        store_fp8(built)
    after = weight_bytes(built)
    assert (round(before / 1e9, 1), round(after / 1e9, 1)) == (28.6, 14.6)
    scales = sum(m.scale.nbytes for m in built.modules() if isinstance(m, Fp8Linear))
    assert before - after == stored - scales
