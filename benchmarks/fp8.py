"""What eight bits cost: error of every layer, and of walks of 200 chunks, for our own products and attention and for
TensorRT's graph.

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
from worldstream.kernels.reference import quantised
from worldstream.worlds.wan.attention import Context, attend
from worldstream.worlds.wan.chunk_step import Block, ChunkStep, EagerStep, passes
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.eight_attention import AttentionScales, LayerScales, attend_eight
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
ATTENDED = 0.12  # of one attention: queries, keys, probabilities, values and the result are each rounded
KEYS = 32_760  # of a window of 21 latent frames at 832 x 480


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


def in_eight_bits(chunks: int, products: bool, attention: bool) -> WalkErrors:
    """The fused pass with float8 products, float8 attention or both, beside the same pass in bf16."""
    exact = network().cast(torch.bfloat16)
    small = copy.deepcopy(exact)
    if products:
        compute_fp8(small)
    models = FusedTransformer.of(exact), FusedTransformer.of(small, "always" if attention else "never")
    steps = [EagerStep(m, PRESET, ROWS, COLUMNS, WINDOW) for m in (models[0], models[1], models[1])]
    assert (steps[1].cache.scales is not None) == attention
    contexts = words(models[0]), words(models[1])
    return walked(steps[0], steps[1], steps[2], contexts, chunks, torch.bfloat16)


def attention_errors(chunks: int = 8) -> dict[int, float]:
    """Relative error of each layer's attention in eight bits, given what the bf16 one is given in a walk; the first
    chunk sets the scales."""
    model = FusedTransformer.of(network().cast(torch.bfloat16), "always")
    step, context = EagerStep(model, PRESET, ROWS, COLUMNS, WINDOW), words(model)
    scales, errors = step.cache.scales, dict.fromkeys(range(CONFIG.layers), 0.0)
    assert scales is not None
    plain = FusedTransformer.of(network().cast(torch.bfloat16))
    exact = EagerStep(plain, PRESET, ROWS, COLUMNS, WINDOW)
    calls = 0

    def compared(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        nonlocal calls
        layer, out = calls % CONFIG.layers, attend(q, k, v)
        calls += 1
        if k.shape[1] == q.shape[1]:
            scales.fit(layer, v)
            scales.fit_out(layer, out)
        else:
            errors[layer] = max(errors[layer], attention_error(q, k, v, out, scales.layers[layer]))
        return out

    plain.attends = compared
    for i, noise in enumerate(noises(chunks, torch.bfloat16)):
        exact.block(Block(noise, context, first=i == 0))
    return errors


def attention_error(q: Tensor, k: Tensor, v: Tensor, out: Tensor, layer: LayerScales) -> float:
    """Of these queries, keys and values in eight bits, relative to `out`."""
    ours = attend_eight(quantised(q, layer.queries), quantised(k, layer.keys), quantised(v, layer.values), layer)
    return float((ours.exact(torch.float32) - out.float()).norm() / out.float().norm())


def long_attention_error(sharpness: float) -> float:
    """Of 32 queries over as many keys as a full window holds, unit normal numbers, heads as the model's. The scales are
    those that the first chunk of seven would set."""
    g = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, count, 2, 128, generator=g) for count in (32, KEYS, KEYS))
    q, first = q * sharpness, KEYS // 7
    bound = torch.full((1,), 1536**0.5)
    scales = AttentionScales(bound * sharpness, bound)
    scales.fit(0, v[:, :first])
    scales.fit_out(0, attend(q, k[:, :first], v[:, :first]))
    return attention_error(q, k, v, attend(q, k, v), scales.layers[0])


def layer_errors() -> dict[str, float]:
    """Relative error of each float8 layer, given what the bf16 layer is given in a walk of a few chunks."""
    exact = network().cast(torch.bfloat16)
    small = copy.deepcopy(exact)
    compute_fp8(small)
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
        layers = layer_errors()
        kinds = sorted({name.split(".", 2)[2] for name in layers})
        for kind in kinds:
            worst = max(error for name, error in layers.items() if name.endswith(kind))
            found.append(at_most(f"tiny, emulated: layer {kind}, float8 beside bf16", worst, "", LAYER))
        for layer, error in attention_errors().items():
            found.append(at_most(f"tiny, emulated: layer {layer}, float8 attention beside bf16", error, "", ATTENDED))
        for sharpness in (1.0, 3.0):
            what = f"emulated: float8 attention over {KEYS} keys, scores of {sharpness:g}, beside float32"
            found.append(at_most(what, long_attention_error(sharpness), "", ATTENDED))
        for what, parts in (("products", (1, 0)), ("attention", (0, 1)), ("products and attention", (1, 1))):
            walk = in_eight_bits(chunks, *map(bool, parts))
            found += figures(f"tiny, emulated: fused pass, float8 {what} beside bf16", walk, chunks)
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
