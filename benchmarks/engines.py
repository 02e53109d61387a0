"""TensorRT engines of the open checkpoints: built, checked and, on a GPU, timed beside eager torch.

    python benchmarks/engines.py [--quick] [--json FILE] [--only WORD ...] [--all-layers] [--folder FILES]

On a GPU that an installed edition of TensorRT knows: every case is built (or found again in --folder), compared with
eager torch on fresh random latents, then both are timed. `--quick` needs no GPU: the graphs are run tiny through ONNX
Runtime against torch, and TensorRT-RTX builds them at full size ahead of time for compute capability 8.9. Its figures
are those of building; such an engine is "built and parity-checked, not timed". Weights are random, of full shape.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_walk import Walk, decoder, error, tflop, transformer
from benchmarks.report import Figure, at_most, print_table, write
from worldstream.worlds.tensorrt_edition import Edition, cannot_run, find
from worldstream.worlds.wan.actions import ActionConfig
from worldstream.worlds.wan.config import MATRIX_GAME_2, WAN_1_3B, WanConfig
from worldstream.worlds.wan.engine_backend import EngineOptions, decoder_or_torch, decoder_writer, open_chunk
from worldstream.worlds.wan.engine_chunk import EngineChunk
from worldstream.worlds.wan.engine_decoder import EngineDecoder
from worldstream.worlds.wan.fp8_scales import calibrated
from worldstream.worlds.wan.graph import BUILT_FOR
from worldstream.worlds.wan.kv_cache import KVCache
from worldstream.worlds.wan.onnx_graph import OnnxGraph, OnnxRun
from worldstream.worlds.wan.pass_graph import ATTENDED, LINEARS, ChunkShape, write_chunk
from worldstream.worlds.wan.tensorrt_graph import Plan, TensorRTGraph
from worldstream.worlds.wan.tensorrt_run import instructions

AHEAD_FOR = "8.9"  # what --quick builds for: the first that has both editions' float8
PARITY = 1e-4  # of the twin in float32
LOW = 3e-2  # of an engine in sixteen bits beside torch in sixteen bits
LOW_FP8 = 0.15
TINY = WanConfig(
    dim=128, ffn_dim=192, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=16, text_len=24, freq_dim=32
)


@dataclass(frozen=True, slots=True)
class Case:
    """One engine (of a decoder: its two)."""

    kind: str  # vae, taehv, chunk: a pass of Wan 1.3B, game: of Matrix-Game 2.0 with its action modules
    height_px: int
    width_px: int
    window: int = 0
    fp8: str = ""  # "linear", "linear and attention"

    @property
    def name(self) -> str:
        size = f"{self.kind} {self.width_px}×{self.height_px}"
        precision = f"fp8 {self.fp8}" if self.fp8 else "bf16"
        return f"{size}, window {self.window}, {precision}" if self.window else f"{size}, {precision}"

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of a latent frame."""
        return self.height_px // 8, self.width_px // 8


CASES = (
    Case("vae", 352, 640),
    Case("vae", 480, 832),
    Case("taehv", 352, 640),
    Case("taehv", 480, 832),
    Case("game", 352, 640, window=6),
    Case("chunk", 480, 832, window=12),
    Case("chunk", 480, 832, window=12, fp8="linear"),
    Case("chunk", 480, 832, window=12, fp8="linear and attention"),
    Case("chunk", 480, 832, window=21),
    Case("chunk", 480, 832, window=21, fp8="linear and attention"),
)
QUICK = (CASES[0], CASES[2], *CASES[4:8])


def chunk_shape(case: Case, layers: int = 30) -> ChunkShape:
    game = case.kind == "game"
    config = replace(MATRIX_GAME_2 if game else WAN_1_3B, layers=layers)
    return ChunkShape(
        config, *case.cells, window=case.window, actions=ActionConfig(blocks=min(15, layers)) if game else None
    )


def twins() -> Iterator[Figure]:
    """Graphs of a few cells through ONNX Runtime beside torch, float32: the worst error of a stream or walk."""
    g = torch.Generator().manual_seed(0)
    for kind, small in (("vae", True), ("taehv", True), ("vae", False), ("taehv", False)):
        codec = decoder(kind, "cpu", torch.float32, small)
        graphs = [OnnxGraph(), OnnxGraph()]
        for graph, first in zip(graphs, (True, False), strict=True):
            decoder_writer(codec)(graph, codec, 4, 6, torch.float32, first)
        ours, latents = EngineDecoder(codec, *map(OnnxRun, graphs)), torch.randn(1, 16, 5, 4, 6, generator=g)
        worst = error(ours.decode(latents)[0], codec.decode(latents)[0])
        yield at_most(f"{kind}, {'tiny' if small else 'full'} width, 4×6 cells: ONNX beside torch", worst, "", PARITY)
    full = replace(WAN_1_3B, layers=2, text_dim=64)
    game, actions = replace(MATRIX_GAME_2, layers=2, image_dim=64), ActionConfig(blocks=1)
    for words, shape in (
        ("tiny", ChunkShape(TINY, 4, 6, 3, 9)),
        ("full", ChunkShape(full, 4, 6, 3, 9)),
        ("Matrix-Game's", ChunkShape(game, 4, 6, 3, 6, actions=actions)),
    ):
        model, graph = transformer(shape, "cpu", torch.float32), OnnxGraph()
        write_chunk(graph, model, shape, torch.float32)
        worst = Walk(EngineChunk(model, shape, OnnxRun(graph), "cpu"), model, shape, g).worst()
        yield at_most(f"chunk, {words} width, 2 layers, 4×6 cells: ONNX beside torch", worst, "", PARITY)


def planned(case: Case, edition: Edition, layers: int) -> Iterator[tuple[str, Plan]]:
    """The case's engines, built ahead of time at full size. Every linear layer of an fp8 case is quantised."""
    rows, columns = case.cells
    if case.window:
        graph, shape = TensorRTGraph(edition), chunk_shape(case, layers)
        names = LINEARS * bool(case.fp8) + tuple(f"self_attn.{n}" for n in ATTENDED) * ("attention" in case.fp8)
        amax = {f"blocks.{layer}.{name}": 8.0 for layer in range(layers) for name in names}
        model = transformer(shape, "cpu", torch.bfloat16)
        write_chunk(graph, model, shape, torch.bfloat16, amax)
        yield f"{case.name}, {layers} of 30 layers", graph.build(AHEAD_FOR)
        return
    codec = decoder(case.kind, "cpu", torch.bfloat16)
    for first in (True, False):
        graph = TensorRTGraph(edition)
        decoder_writer(codec)(graph, codec, rows, columns, torch.bfloat16, first)
        yield f"{case.name}, {'first' if first else 'steady'}", graph.build(AHEAD_FOR)


def built(case: Case, edition: Edition, layers: int) -> Iterator[Figure]:
    """Figures of building one case."""
    for name, plan in planned(case, edition, layers):
        found = instructions(plan.data)
        yield Figure(f"{name}: build", plan.seconds, "s")
        yield Figure(f"{name}: engine", len(plan.data) / 1e6, "MB")
        yield Figure(f"{name}: activations", plan.scratch / 1e6, "MB")
        yield Figure(f"{name}: kernels", sum(found.values()), "")
        if case.window:
            fused, wanted = found["_gemm_mha_v2"], plan.layers["ATTENTION_INPUT"]
            yield Figure(f"{name}: fused attention", fused, "", f"= {wanted}", fused == wanted)
    yield Figure(f"{case.name}: most memory so far", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "GB")


def parsed(edition: Edition) -> Figure:
    """The full decoder's ONNX twin, read by TensorRT's parser."""
    graph, network = OnnxGraph(), TensorRTGraph(edition)
    codec = decoder("vae", "cpu", torch.float32)
    decoder_writer(codec)(graph, codec, 44, 80, torch.float32, False)
    count = network.parsed(graph.model().SerializeToString())["CONVOLUTION"]
    return Figure("vae 640×352, float32 twin: convolutions read by the parser", count, "", "= 39", count == 39)


def median_ms(call: Callable[[], object], repeats: int = 30) -> float:
    """By device events, after a warm-up."""
    times = []
    for i in range(repeats + 5):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        call()
        events[1].record()
        events[1].synchronize()
        if i >= 5:
            times.append(events[0].elapsed_time(events[1]))
    return statistics.median(times)


def timed(case: Case, options: EngineOptions) -> Iterator[Figure]:
    """Parity and times of one case on this GPU, engine beside eager torch. Nothing where the engine fell back."""
    rows, columns = case.cells
    g = torch.Generator().manual_seed(1)
    if case.window:
        yield from timed_chunk(case, options, g)
        return
    codec = decoder(case.kind, "cuda", BUILT_FOR[options.precision])
    ours = decoder_or_torch(codec, rows, columns, options, print)
    if not isinstance(ours, EngineDecoder):
        return
    latents = torch.randn(1, 16, 4, rows, columns, generator=g).cuda()
    got, state = ours.decode(latents)
    wanted, wanted_state = codec.decode(latents)
    yield at_most(f"{case.name}: engine beside torch", error(got, wanted), "", LOW)
    one = latents[:, :, :1]
    for name, ms in (
        ("engine", median_ms(lambda: ours.decode(one, state))),
        ("eager torch", median_ms(lambda: codec.decode(one, wanted_state, reuse=True))),
    ):
        yield Figure(f"{case.name}: {name}, one latent", ms, "ms")
        yield Figure(f"{case.name}: {name}", 4e3 / ms, "fps")


def timed_chunk(case: Case, options: EngineOptions, g: torch.Generator) -> Iterator[Figure]:
    shape = chunk_shape(case)
    model = transformer(shape, "cuda", BUILT_FOR[options.precision])
    if case.fp8:
        context = model.context(torch.randn(1, 24, shape.config.text_dim, generator=g).cuda())
        cache = KVCache(shape.config, shape.rows, shape.columns, 6, dtype=model.dtype, device="cuda")
        with calibrated(model, attention="attention" in case.fp8) as amax:
            for _ in range(4):
                x = torch.randn(1, 16, 3, shape.rows, shape.columns, generator=g).cuda()
                model.chunk(x, torch.tensor([900.0], device="cuda"), context, cache, commit=True)
        options = replace(options, amax=amax)
    edition = find()
    with_ours = isinstance(edition, Edition) and not isinstance(edition.plugins(), str)
    for words, plugins in (("engine", False), *[("engine with our kernels", True)] * with_ours):
        ours = open_chunk(model, shape, replace(options, plugins=plugins), print)
        if ours is None:
            return
        walk = Walk(ours, model, shape, g)
        yield at_most(f"{case.name}: {words} beside torch", walk.worst(), "", LOW_FP8 if case.fp8 else LOW)
        for name, ms in ((words, median_ms(walk.engine)), *[("eager torch", median_ms(walk.torch))] * (not plugins)):
            yield Figure(f"{case.name}: {name}, one pass", ms, "ms")
            yield Figure(f"{case.name}: {name}", 1e3 * tflop(shape) / ms, "TFLOP/s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no GPU: parity of the twins, engines built ahead of time")
    parser.add_argument("--all-layers", action="store_true", help="with --quick: all 30 layers, 12 GB of memory")
    parser.add_argument("--json", type=Path, help="also write the figures here, after every case")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases whose name has one of these words")
    parser.add_argument("--folder", type=Path, help="where engines are kept; a temporary folder by default")
    options = parser.parse_args()
    edition = find()
    why = edition if isinstance(edition, str) else None if options.quick else cannot_run(edition)
    if why is not None or isinstance(edition, str):
        print(f"nothing is timed: {why}")
        return 1
    facts = {"tensorrt": str(edition), "weights": "random", "status": "built and parity-checked, not timed"}
    if not options.quick:
        facts |= {"device": torch.cuda.get_device_name(), "status": "timed"}
    figures = [*twins(), *([parsed(edition)] if options.quick else [])]
    with tempfile.TemporaryDirectory() as temporary:
        kept = EngineOptions(options.folder or Path(temporary), "bench")
        for case in QUICK if options.quick else CASES:
            if options.only and not any(word in case.name for word in options.only):
                continue
            with torch.inference_mode():
                figures += built(case, edition, 30 if options.all_layers else 2) if options.quick else timed(case, kept)
            if options.json:
                write(options.json, figures, facts)
    print_table(figures)
    print(facts["status"])
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
