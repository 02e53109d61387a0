"""Products in eight bits: against arithmetic written out, per layer, and over a long walk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.fp8 import (
    ATTENDED,
    FORCED,
    GROWTH,
    LAYER,
    attention_errors,
    graph_in_eight_bits,
    in_eight_bits,
    layer_errors,
)
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.fp8 import linears
from worldstream.worlds.wan.fp8_matmul import Fp8Matmul, compute_fp8, scaled, why_not
from worldstream.worlds.wan.transformer import WanTransformer

CONFIG = WanConfig(dim=64, ffn_dim=128, heads=2, layers=2, text_dim=16, text_len=8)


def transformer() -> WanTransformer:
    torch.manual_seed(5)
    made = WanTransformer(CONFIG).eval().requires_grad_(False)
    for p in made.parameters():
        p.data = torch.randn(p.shape) * (0.7 * p[0].numel() ** -0.5 if p.ndim > 1 else 0.1)
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_what_it_says(bias: bool) -> None:
    """Inputs rounded to eight bits with a scale for each row, products exact, result rounded once to bfloat16."""
    torch.manual_seed(1)
    linear = nn.Linear(48, 32, bias=bias)
    x = torch.randn(2, 5, 48) * torch.logspace(-3, 2, 10).view(2, 5, 1)
    tokens, levels = scaled(x.flatten(0, 1))
    weight, rows = scaled(linear.weight.detach())
    exact = (tokens.double() * levels.double()) @ (weight.double() * rows.double()).t()
    exact = exact + (linear.bias.double() if bias else 0.0)  # which is added in the product, before the rounding
    out = Fp8Matmul(linear)(x).flatten(0, 1).double()
    assert (out - exact).abs().max() <= 2**-7 * exact.abs().max()
    assert ((out - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.01, "small tokens are as exact as large ones"


def test_error_of_a_layer() -> None:
    """A normal layer is off by about 4 %: two roundings to three bits of mantissa."""
    torch.manual_seed(2)
    linear, x = nn.Linear(512, 512), torch.randn(64, 512)
    error = (Fp8Matmul(linear)(x) - linear(x)).norm() / linear(x).norm()
    assert 0.01 < error < 0.06


def test_which_layers_are_changed() -> None:
    made = transformer()
    names = {name for _, name, _ in linears(made)}
    assert names == {"q", "k", "v", "o", "0", "2"}
    assert compute_fp8(made, kept=()) == CONFIG.layers * 10
    kinds = {name.split(".")[0] for name, module in made.named_modules() if isinstance(module, Fp8Matmul)}
    assert kinds == {"blocks"}


def test_layers_that_the_kernels_cannot_take_stay() -> None:
    odd = WanTransformer(WanConfig(dim=36, ffn_dim=80, heads=2, layers=1, text_dim=16, text_len=8))
    assert compute_fp8(odd, kept=()) == 0


def test_gpus_without_float8_are_told_apart() -> None:
    assert why_not(torch.device("cpu")) is None
    assert why_not(torch.device("cuda"), (8, 9)) is None
    assert why_not(torch.device("cuda"), (9, 0)) is None
    old = why_not(torch.device("cuda"), (8, 6))
    assert old == "compute capability 8.6 takes no products in float8, 8.9 and newer do"


def test_outer_blocks_stay_in_sixteen_bits() -> None:
    made = WanTransformer(replace(CONFIG, layers=4))
    assert compute_fp8(made) == 2 * 10
    assert {name.split(".")[1] for name, m in made.named_modules() if isinstance(m, Fp8Matmul)} == {"1", "2"}


def test_a_walk_stays_by_the_side_of_the_exact_one() -> None:
    """Every layer, and a short form of the walk of 200 chunks that `benchmarks/fp8.py` measures: through the fused pass
    beside bf16, with attention in eight bits too, and through TensorRT's graph beside float32."""
    with torch.inference_mode():
        layers, attentions = layer_errors(), attention_errors(5)
        walk, attended = in_eight_bits(24, products=True, attention=False), in_eight_bits(24, True, attention=True)
        graph = graph_in_eight_bits(16)
    assert len(layers) == 2 * 10
    assert all(0.01 < error < LAYER for error in layers.values())
    assert len(attentions) == 4
    assert all(0.02 < error < ATTENDED for error in attentions.values())
    for found, count in ((walk, 24), (attended, 24), (graph, 16)):
        assert len(found.forced) == count
        assert 1e-3 < max(found.forced) < FORCED, "it really is eight bits, and they are enough"
        assert found.growth < GROWTH, "the error does not grow with the walk"
        assert found.size == pytest.approx(1.0, abs=0.15)
