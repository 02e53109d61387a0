"""One contract, every backend that this machine has: the same blocks, jumps back and new beginnings as plain torch.

On a GPU the recordings are CUDA graphs, the operators kernels, and numbers are bfloat16.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from tests.worlds.wan.test_onnx_rollout import stepped
from tests.worlds.wan.test_rollout import TEXT, model, randomly
from worldstream.worlds.wan.attention import Context
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_fused_graph import FusedGraphStep
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import Block, ChunkStep, EagerStep, MakeStep, passes
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.openvino_backend import OpenVINOOptions, OpenVINOSteps
from worldstream.worlds.wan.transformer import WanTransformer

NAME, ROWS, COLUMNS, WINDOW = "causal-forcing-framewise-2step", 2, 4, 3
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no GPU here")),
]


@dataclass(frozen=True, slots=True)
class Walk:
    """A stepper and what it is told."""

    step: ChunkStep
    context: Context

    def blocks(self, first: int, count: int) -> list[Tensor]:
        """Blocks of the walk; what is drawn from depends on the number alone."""
        drawn = []
        preset = model(NAME).preset
        for i in range(first, first + count):
            g = torch.Generator().manual_seed(i)
            noise = tuple(torch.randn(1, 16, 1, ROWS, COLUMNS, generator=g) for _ in range(passes(preset, i == 0)))
            like = self.context.layers[0].keys
            drawn.append(self.step.block(Block(tuple(n.to(like) for n in noise), self.context, first=i == 0)).clone())
        return drawn


def walk(kind: MakeStep | None, kernels: bool, device: str) -> Walk:
    """`kind` None: TensorRT's graph, by ONNX Runtime."""
    network = randomly(WanTransformer(replace(TEXT, dim=64, ffn_dim=128)))
    assert isinstance(network, WanTransformer)
    for p in network.parameters():
        p.data *= 0.4 if p.ndim > 1 else 1.0  # so that what is drawn depends on the noise
    network = network.to(device).cast(torch.bfloat16 if device == "cuda" else torch.float32)
    words = torch.randn(1, 5, TEXT.text_dim, generator=torch.Generator().manual_seed(3))
    context = network.context(words.to(device))
    transformer = FusedTransformer.of(copy.deepcopy(network)) if kernels else network
    m = replace(model(NAME), transformer=transformer, window=WINDOW)
    step = stepped(m) if kind is None else kind(transformer, m.preset, ROWS, COLUMNS, WINDOW)
    return Walk(step, context)


BACKENDS: dict[str, Callable[[str], Walk]] = {
    "graph": lambda device: walk(GraphStep, False, device),
    "fused commit": lambda device: walk(FusedStep, False, device),
    "kernels": lambda device: walk(EagerStep, True, device),
    "kernels, graph": lambda device: walk(GraphStep, True, device),
    "kernels, fused commit": lambda device: walk(FusedStep, True, device),
    "kernels, fused commit, graph": lambda device: walk(FusedGraphStep, True, device),
    "TensorRT's graph": lambda _: walk(None, False, "cpu"),
    "openvino": lambda _: walk(OpenVINOSteps(OpenVINOOptions(exact=True), pytest.fail), False, "cpu"),
}


def apart(ours: list[Tensor], wanted: list[Tensor]) -> float:
    assert len(ours) == len(wanted)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
@torch.inference_mode()
def test_every_backend_draws_the_same_walk(backend: str, device: str) -> None:
    if backend == "TensorRT's graph" and device == "cuda":
        pytest.skip("benchmarks/engines.py compares TensorRT's own engines on a GPU")
    if backend == "openvino" and device == "cuda":
        pytest.skip("OpenVINO draws on the CPU")
    allowed = 3e-2 if device == "cuda" else 2e-4
    plain, ours = walk(EagerStep, False, device), BACKENDS[backend](device)
    wanted = plain.blocks(0, 8)
    assert apart(ours.blocks(0, 5), wanted[:5]) <= allowed
    kept = ours.step.snapshot()
    assert apart(ours.blocks(5, 3), wanted[5:]) <= allowed
    ours.step.restore(kept)
    assert apart(ours.blocks(5, 3), wanted[5:]) <= allowed, "after a jump back"
    ours.step.reset()
    assert apart(ours.blocks(0, 2), wanted[:2]) <= allowed, "a new walk"
    assert apart(wanted[5:], wanted[4:7]) > 0.1, "blocks must differ for this to mean anything"
