"""What eight bits cost: error of every layer, and of walks of 200 chunks, for our own products and TensorRT's graph.

    python benchmarks/fp8.py [--quick] [--json FILE] [--chunks N]

Without a GPU: networks of a few hundred thousand random numbers, at tiny size, whose float8 products are emulated with
the rounding that a GPU has (torch's and ONNX Runtime's reference kernels). So these figures are of the rounding and of
how it adds up over layers and chunks; trained weights have larger outliers, and their pictures have to be looked at.
A walk is measured in two ways: beside the exact one, whose chunks it is shown (the error of one chunk), and alone.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_most, print_table, write
from worldstream.worlds.wan.attention import Context
from worldstream.worlds.wan.chunk_step import Block, ChunkStep, EagerStep, passes
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.engine_step import EngineStep
from worldstream.worlds.wan.fp8_matmul import Fp8Matmul, compute_fp8
from worldstream.worlds.wan.fp8_scales import calibrated
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.live import LivePreset, live
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ChunkShape, write_chunk
from worldstream.worlds.wan.transformer import WanTransformer

ROWS, COLUMNS, WINDOW = 4, 6, 3
CONFIG = WanConfig(
    dim=128, ffn_dim=256, heads=2, layers=4, in_channels=4, out_channels=4, text_dim=16, text_len=24, freq_dim=32
)
PRESET = live("causal-forcing-framewise-1step")
CALIBRATION = 8  # chunks whose largest inputs fix the graph's scales
FORCED, LAYER, GROWTH = 0.05, 0.06, 1.3  # what is still called by the side of the exact walk


@dataclass(frozen=True, slots=True)
class WalkErrors:
    """Of a walk in eight bits."""

    forced: tuple[float, ...]  # relative error of each chunk, drawn after the exact chunks before it
    size: float  # spread of the last chunks of the walk alone, over the exact walk's

    @property
    def growth(self) -> float:
        """Mean error of the last quarter over that of the first."""
        quarter = max(1, len(self.forced) // 4)
        return sum(self.forced[-quarter:]) / sum(self.forced[:quarter])


def network(config: WanConfig = CONFIG, seed: int = 5) -> WanTransformer:
    """Random weights that keep numbers of about unit size."""
    torch.manual_seed(seed)
    made = WanTransformer(config).eval().requires_grad_(False)
    g = torch.Generator().manual_seed(seed)
    for p in made.parameters():
        spread = 0.7 * p[0].numel() ** -0.5 if p.ndim > 1 else 0.1
        p.data = torch.randn(p.shape, generator=g) * spread + (1.0 if p.ndim == 1 and p.mean() == 1 else 0.0)
    return made


def words(model: WanTransformer) -> Context:
    g = torch.Generator().manual_seed(1)
    return model.context(torch.randn(1, 5, model.config.text_dim, generator=g).to(model.dtype))


def noises(chunks: int, dtype: torch.dtype, preset: LivePreset = PRESET) -> Iterator[tuple[Tensor, ...]]:
    """Of each chunk of a walk."""
    g = torch.Generator().manual_seed(2)
    shape = (1, CONFIG.out_channels, preset.block, ROWS, COLUMNS)
    for i in range(chunks):
        yield tuple(torch.randn(shape, generator=g).to(dtype) for _ in range(passes(preset, i == 0)))


def walked(
    exact: ChunkStep, shown: ChunkStep, alone: ChunkStep, contexts: tuple[Context, Context], chunks: int,
    dtype: torch.dtype,
) -> WalkErrors:  # fmt: skip
    """`shown` draws every chunk after the exact ones before it, `alone` after its own."""
    forced: list[float] = []
    sizes: list[float] = []
    for i, noise in enumerate(noises(chunks, dtype)):
        true = exact.block(Block(noise, contexts[0], first=i == 0))
        state = shown.snapshot()
        drawn = shown.block(Block(noise, contexts[1], first=i == 0))
        shown.restore(state)
        shown.block(Block((), contexts[1], first=i == 0, given=true))
        own = alone.block(Block(noise, contexts[1], first=i == 0))
        forced.append(float((drawn.double() - true.double()).norm() / true.double().norm()))
        sizes.append(float(own.double().std() / true.double().std()))
    last = sizes[-max(1, chunks // 10) :]
    return WalkErrors(tuple(forced), sum(last) / len(last))


def products_in_eight_bits(chunks: int) -> tuple[dict[str, float], WalkErrors]:
    """Each layer's error and a walk's: the fused pass with float8 products beside the same pass in bf16."""
    exact = network().cast(torch.bfloat16)
    small = copy.deepcopy(exact)
    compute_fp8(small)
    layers = layer_errors(exact, small)
    models = FusedTransformer.of(exact), FusedTransformer.of(small)
    steps = [EagerStep(m, PRESET, ROWS, COLUMNS, WINDOW) for m in (models[0], models[1], models[1])]
    contexts = words(models[0]), words(models[1])
    return layers, walked(steps[0], steps[1], steps[2], contexts, chunks, torch.bfloat16)


def layer_errors(exact: WanTransformer, small: WanTransformer) -> dict[str, float]:
    """Relative error of each float8 layer, given what the bf16 layer is given in a walk of a few chunks."""
    errors: dict[str, list[float]] = {}

    def compare(name: str, layer: Fp8Matmul, _: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        ours = layer(given[0]).double()
        errors.setdefault(name, []).append(float((ours - out.double()).norm() / out.double().norm()))

    hooks = [
        exact.get_submodule(name).register_forward_hook(partial(compare, name, layer))
        for name, layer in small.named_modules()
        if isinstance(layer, Fp8Matmul)
    ]
    step, context = EagerStep(exact, PRESET, ROWS, COLUMNS, WINDOW), words(exact)
    for i, noise in enumerate(noises(4, exact.dtype)):
        step.block(Block(noise, context, first=i == 0))
    for hook in hooks:
        hook.remove()
    return {name: max(found) for name, found in errors.items()}


def graph_in_eight_bits(chunks: int, attention: bool = False) -> WalkErrors:
    """A walk through TensorRT's graph with explicit Q/DQ, by ONNX Runtime, beside torch in float32."""
    model = network(replace(CONFIG, text_len=24))
    shape = ChunkShape(model.config, ROWS, COLUMNS, PRESET.block, WINDOW)
    context, step = words(model), EagerStep(model, PRESET, ROWS, COLUMNS, WINDOW)
    with calibrated(model, attention=attention) as amax:
        for i, noise in enumerate(noises(CALIBRATION, torch.float32)):
            step.block(Block(noise, context, first=i == 0))
    graph = OnnxGraph()
    write_chunk(graph, model, shape, torch.float32, amax)
    run = OnnxRun(graph, exact=True)
    ours = [EngineStep(EngineChunk(model, shape, run, "cpu"), PRESET, torch.float32) for _ in range(2)]
    exact = EagerStep(model, PRESET, ROWS, COLUMNS, WINDOW)
    return walked(exact, ours[0], ours[1], (context, context), chunks, torch.float32)


def figures(name: str, found: WalkErrors, chunks: int) -> Iterator[Figure]:
    yield at_most(f"{name}, {chunks} chunks: worst error of a chunk", max(found.forced), "", FORCED)
    yield Figure(f"{name}, {chunks} chunks: mean error of a chunk", sum(found.forced) / chunks, "")
    yield at_most(f"{name}, {chunks} chunks: last quarter's error over the first's", found.growth, "", GROWTH)
    yield at_most(f"{name}, {chunks} chunks: spread of the walk alone is off by", abs(found.size - 1), "", 0.15)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 chunks instead of 200")
    parser.add_argument("--chunks", type=int, help="chunks of a walk")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    chunks = options.chunks or (20 if options.quick else 200)
    found: list[Figure] = []
    with torch.inference_mode():
        layers, walk = products_in_eight_bits(chunks)
        kinds = sorted({name.split(".", 2)[2] for name in layers})
        for kind in kinds:
            worst = max(error for name, error in layers.items() if name.endswith(kind))
            found.append(at_most(f"tiny, emulated: layer {kind}, float8 beside bf16", worst, "", LAYER))
        found += figures("tiny, emulated: fused pass, float8 products beside bf16", walk, chunks)
        for attention in (False, True):
            what = "products and attention" if attention else "products"
            walk = graph_in_eight_bits(chunks, attention)
            found += figures(f"tiny, ONNX Runtime: TensorRT's Q/DQ graph, float8 {what} beside float32", walk, chunks)
    print_table(found)
    if options.json:
        facts = {
            "device": "cpu, float8 emulated",
            "weights": "random",
            "shapes": "tiny",
            "status": "not a GPU's figures",
        }
        write(options.json, found, facts)
    return 0 if all(figure.met is not False for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
