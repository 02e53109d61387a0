"""Products and attention in eight bits: the quantised graph is the same rounding as in torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.worlds.wan.test_onnx_chunk import context, passes
from tests.worlds.wan.tiny_engines import COLUMNS, ROWS, TINY, TOLERANCE, error, normal, seeded, transformer
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.fp8 import quantised, store_fp8
from worldstream.worlds.wan.fp8_matmul import compute_fp8
from worldstream.worlds.wan.fp8_scales import calibrated
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ATTENDED, LINEARS, ChunkShape, write_chunk
from worldstream.worlds.wan.transformer import WanTransformer


class Rounded(nn.Module):
    """A linear layer whose input and weight go through float8, in float32: what the quantised graph means."""

    def __init__(self, linear: nn.Linear, amax: float) -> None:
        super().__init__()
        weight, rows = quantised(linear.weight)
        self.weight, self.bias, self.scale = weight.float() * rows[:, None], linear.bias, amax / 448.0

    def forward(self, x: Tensor) -> Tensor:
        eight = (x / self.scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * self.scale
        return F.linear(eight, self.weight, self.bias)


def rounded(model: WanTransformer, amax: dict[str, float]) -> WanTransformer:
    """A copy in which every layer that was calibrated is `Rounded`."""
    copy = WanTransformer(model.config).eval().requires_grad_(False)
    copy.load_state_dict(model.state_dict())
    for name, largest in amax.items():
        parent = copy.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        for part in ("q", "k", "v") if leaf == "qkv" else (leaf,):
            linear = parent.get_submodule(part)
            assert isinstance(linear, nn.Linear)
            setattr(parent, part, Rounded(linear, largest))
    return copy


def test_eight_bit_products_equal_the_same_rounding_in_torch() -> None:
    shape, model, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 2), transformer(), seeded(9)
    seen, cache_ = context(TINY), KVCache(TINY, ROWS, COLUMNS, 2, chunk=1)
    walk = [step for number in range(4) for step in passes(shape, number, g)]
    with calibrated(model, kept=()) as amax:
        exact = [model.chunk(x, time, seen, cache_, commit=commit) for x, time, commit in walk]
    assert set(amax) == {f"blocks.{layer}.{name}" for layer in range(2) for name in LINEARS}
    graph = OnnxGraph()
    write_chunk(graph, model, shape, torch.float32, amax)
    ours, reference = EngineChunk(model, shape, OnnxRun(graph, exact=True), "cpu"), rounded(model, amax)
    ours.show(seen)
    cache_.reset()
    found = []
    for (x, time, commit), unrounded in zip(walk, exact, strict=True):
        wanted = reference.chunk(x, time, seen, cache_, commit=commit)
        got = ours.chunk(x, time, commit=commit)
        found.append(error(got, wanted))
        assert 5e-3 < error(got, unrounded) < 0.1, "it really is eight bits, and they are enough"
    # A sum that lies between two float8 numbers may fall to either side, and then one pass differs by that.
    assert sorted(found)[len(found) * 2 // 3] <= 1e-5
    assert max(found) < 0.02


def eight(x: Tensor, scale: float) -> Tensor:
    return (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale


def test_eight_bit_attention_equals_the_same_rounding_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, model, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 3), transformer(), seeded(13)
    seen, cache_ = context(TINY), KVCache(TINY, ROWS, COLUMNS, 3, chunk=1)
    walk = [step for number in range(5) for step in passes(shape, number, g)]
    with calibrated(model, kept=(), attention=True) as amax:
        exact = [model.chunk(x, time, seen, cache_, commit=commit) for x, time, commit in walk]
    only = {name: value for name, value in amax.items() if name.rpartition(".")[2] in ATTENDED}
    assert set(amax) - set(only) == {f"blocks.{layer}.{name}" for layer in range(2) for name in LINEARS}
    graph = OnnxGraph()
    write_chunk(graph, model, shape, torch.float32, only)
    ours = EngineChunk(model, shape, OnnxRun(graph, exact=True), "cpu")
    calls: list[int] = []

    def rounded_attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scales = [only[f"blocks.{len(calls) % TINY.layers}.self_attn.{name}"] / 448 for name in ATTENDED]
        calls.append(1)
        parts = zip((q * TINY.head_width**-0.5, k, v), scales, strict=True)
        q, k, v = (eight(x, s).transpose(1, 2) for x, s in parts)
        weights = eight((q @ k.transpose(2, 3)).softmax(-1), 1 / 448)
        return (weights @ v).transpose(1, 2).flatten(2)

    monkeypatch.setattr("worldstream.worlds.wan.transformer.attend_to", rounded_attend)
    ours.show(seen)
    cache_.reset()
    found = []
    for (x, time, commit), unrounded in zip(walk, exact, strict=True):
        wanted = model.chunk(x, time, seen, cache_, commit=commit)
        got = ours.chunk(x, time, commit=commit)
        found.append(error(got, wanted))
        assert 1e-3 < error(got, unrounded) < 0.1
    assert sorted(found)[len(found) * 2 // 3] <= 1e-5
    assert max(found) < 0.02


def test_calibration_leaves_the_outer_blocks_alone_and_wants_passes() -> None:
    model = WanTransformer(WanConfig(**{**TINY.to_json(), "layers": 3})).eval().requires_grad_(False)
    seen = model.context(torch.zeros(1, 3, TINY.text_dim))
    cache_ = KVCache(model.config, ROWS, COLUMNS, 2, chunk=1)
    with calibrated(model) as amax:
        model.chunk(torch.ones(1, 4, 1, ROWS, COLUMNS), torch.tensor([500.0]), seen, cache_)
    assert set(amax) == {f"blocks.1.{name}" for name in LINEARS}
    assert all(value > 0 for value in amax.values())
    with pytest.raises(ValueError, match="no pass ran"), calibrated(model):
        pass


def test_stored_in_eight_bits_is_drawn_and_computed_in_them_is_refused() -> None:
    shape, g = ChunkShape(TINY, ROWS, COLUMNS, 1, 2), seeded(14)
    stored, computed = rounded(transformer(), {}), rounded(transformer(), {})
    store_fp8(stored)
    compute_fp8(computed, kept=())
    with pytest.raises(ValueError, match="Fp8Matmul"):
        write_chunk(OnnxGraph(), computed, shape, torch.float32)
    graph, seen = OnnxGraph(), stored.context(normal(g, 1, 20, TINY.text_dim))
    write_chunk(graph, stored, shape, torch.float32)
    ours, cache_ = EngineChunk(stored, shape, OnnxRun(graph), "cpu"), KVCache(TINY, ROWS, COLUMNS, 2, chunk=1)
    ours.show(seen)
    for x, time, commit in passes(shape, 0, g):
        wanted = stored.chunk(x, time, seen, cache_, commit=commit)
        assert error(ours.chunk(x, time, commit=commit), wanted) <= TOLERANCE
