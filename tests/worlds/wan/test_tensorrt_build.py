"""The real graphs built by TensorRT-RTX on this machine, GPU or not: their layers, and the kernels they became."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from tests.worlds.wan.tiny_engines import COLUMNS, ROWS, TINY, TINY_GAME, taehv, transformer, vae
from worldstream.worlds import tensorrt_edition
from worldstream.worlds.tensorrt_edition import Edition
from worldstream.worlds.wan.actions import ActionConfig, ActionModule
from worldstream.worlds.wan.engine_backend import decoder_writer
from worldstream.worlds.wan.graph import Graph
from worldstream.worlds.wan.onnx_graph import OnnxGraph
from worldstream.worlds.wan.pass_graph import ATTENDED, LINEARS, ChunkShape, cache_names, write_chunk
from worldstream.worlds.wan.taehv import TAEHV
from worldstream.worlds.wan.tensorrt_graph import BuildError, Plan, TensorRTGraph
from worldstream.worlds.wan.tensorrt_run import instructions
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import WanVAE

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has no wheel for this machine")
SHAPE = ChunkShape(TINY, ROWS, COLUMNS, 3, 9)
AMAX = {f"blocks.{layer}.{name}": 4.0 for layer in range(TINY.layers) for name in LINEARS}
LINEAR_LAYERS = TINY.layers * len(LINEARS) + 2  # and the patches', and the head's


def edition() -> Edition:
    found = tensorrt_edition._rtx()
    assert isinstance(found, Edition)
    return found


def chunk(graph: Graph[Any], dtype: torch.dtype, amax: dict[str, float] | None = None) -> None:
    write_chunk(graph, transformer(), SHAPE, dtype, amax)


@cache
def chunk_plan(eight_bits: bool) -> Plan:
    graph = TensorRTGraph(edition())
    chunk(graph, torch.bfloat16, AMAX if eight_bits else None)
    return graph.build("8.9")


def decoder_plan(codec: WanVAE | TAEHV, first: bool, capability: str) -> Plan:
    graph = TensorRTGraph(edition())
    decoder_writer(codec)(graph, codec, ROWS, COLUMNS, torch.float16, first)
    return graph.build(capability)


def convolutions(module: torch.nn.Module) -> int:
    return sum(isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d) for m in module.modules())


def test_chunk_has_native_cache_writes_attention_and_rotation() -> None:
    layers, plan = TINY.layers, chunk_plan(False)
    assert plan.layers["KV_CACHE_UPDATE"] == 2 * layers
    assert plan.layers["ATTENTION_INPUT"] == plan.layers["ATTENTION_OUTPUT"] == 2 * layers
    assert plan.layers["ROTARY_EMBEDDING"] == 2 * layers
    assert plan.layers["MATRIX_MULTIPLY"] == LINEAR_LAYERS
    assert "QUANTIZE" not in plan.layers


def test_every_attention_of_the_chunk_became_a_fused_kernel() -> None:
    found = instructions(chunk_plan(False).data)
    assert found["_gemm_mha_v2"] == 2 * TINY.layers
    assert found["fully_connected"] == LINEAR_LAYERS


def test_caches_are_aliased() -> None:
    pairs = [(cache_names(i), cache_names(i, following=True)) for i in range(TINY.layers)]
    wanted = {(old, new) for olds, news in pairs for old, new in zip(olds, news, strict=True)}
    assert set(chunk_plan(False).aliased) == wanted
    assert decoder_plan(taehv(), True, "8.9").aliased == ()


def test_action_modules_build_with_their_own_rings() -> None:
    actions = ActionConfig(blocks=1, heads=2, width=128, hidden=8)
    model = WanTransformer(TINY_GAME, lambda i: ActionModule(actions, TINY_GAME.dim) if i == 0 else None)
    graph = TensorRTGraph(edition())
    shape = ChunkShape(TINY_GAME, ROWS, COLUMNS, 3, 6, actions=actions)
    write_chunk(graph, model.eval().requires_grad_(False), shape, torch.bfloat16)
    plan = graph.build("12.0")
    assert plan.layers["KV_CACHE_UPDATE"] == len(plan.aliased) == 2 * TINY_GAME.layers + 4
    assert plan.layers["ATTENTION_INPUT"] == 2 * TINY_GAME.layers + 2


def test_eight_bits_are_multiplied_in_eight_bits() -> None:
    plan, wide = chunk_plan(True), chunk_plan(False)
    assert plan.layers["QUANTIZE"] == len(AMAX)
    assert plan.layers["DEQUANTIZE"] == 2 * len(AMAX)
    found = instructions(plan.data)
    assert found["_gemm_mha_v2"] == 2 * TINY.layers
    assert found["fully_connected"] == LINEAR_LAYERS
    # no dequantised copy of a weight: only patches and head are left in sixteen bits
    inner = sum(p.numel() for p in transformer().blocks.parameters() if p.ndim == 2)
    assert len(wide.data) - len(plan.data) > 0.4 * inner


def test_attention_in_eight_bits_stays_fused() -> None:
    graph, blocks = TensorRTGraph(edition()), range(TINY.layers)
    chunk(graph, torch.bfloat16, {f"blocks.{layer}.self_attn.{name}": 8.0 for layer in blocks for name in ATTENDED})
    plan = graph.build("8.9")
    assert plan.layers["QUANTIZE"] == len(ATTENDED) * TINY.layers
    assert instructions(plan.data)["_gemm_mha_v2"] == 2 * TINY.layers
    assert b" type=fp8_e4m3 " in plan.data, "no tensor of the program is in eight bits"
    assert b" type=fp8_e4m3 " not in chunk_plan(False).data


def test_an_architecture_without_float8_refuses_it_in_one_line() -> None:
    graph = TensorRTGraph(edition())
    chunk(graph, torch.bfloat16, AMAX)
    with pytest.raises(BuildError) as refused:
        graph.build("8.0")
    assert len(str(refused.value).splitlines()) == 1


def test_an_architecture_that_the_edition_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"cannot build for compute capability 9\.0"):
        TensorRTGraph(edition()).build("9.0")


@pytest.mark.parametrize("first", [True, False], ids=["first", "steady"])
@pytest.mark.parametrize(("codec", "capability"), [(vae, "8.6"), (taehv, "12.0")], ids=["vae", "taehv"])
def test_decoders_build(codec: Callable[[], WanVAE | TAEHV], first: bool, capability: str) -> None:
    plan = decoder_plan(codec(), first, capability)
    wanted = convolutions(codec().decoder)
    if isinstance(codec(), WanVAE):
        wanted += 1 - 2 * first  # conv2; the first latent does not double time
        assert plan.layers["ATTENTION_INPUT"] == 1
    assert plan.layers["CONVOLUTION"] == wanted
    assert instructions(plan.data)["corrltn"] == wanted
    assert plan.scratch > 0
    assert plan.seconds > 0


@pytest.mark.parametrize("name", ["chunk", "vae", "taehv"])
def test_the_parser_reads_the_onnx_twin_as_the_same_network(name: str) -> None:
    twin, direct = OnnxGraph(), TensorRTGraph(edition())
    for graph in (twin, direct):
        if name == "chunk":
            chunk(graph, torch.float32)
        else:
            codec: WanVAE | TAEHV = vae() if name == "vae" else taehv()
            decoder_writer(codec)(graph, codec, ROWS, COLUMNS, torch.float32, False)
    parsed = TensorRTGraph(edition()).parsed(twin.model().SerializeToString())
    kinds = ("KV_CACHE_UPDATE", "ATTENTION_INPUT", "CONVOLUTION", "MATRIX_MULTIPLY", "ROTARY_EMBEDDING", "RESIZE")
    assert {k: parsed.get(k, 0) for k in kinds} == {k: direct.layers().get(k, 0) for k in kinds}


def test_what_the_parser_does_not_understand() -> None:
    with pytest.raises(BuildError):
        TensorRTGraph(edition()).parsed(b"no model")
