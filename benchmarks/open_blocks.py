"""Blocks of an open checkpoint, run in one of several ways: time, stages, operations, memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch

from benchmarks.flops import block_tflop, latent_tflop
from benchmarks.open_models import Case, made, shapes
from benchmarks.report import Figure, at_least, at_most
from worldstream.worlds.core import Action
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_fused_graph import FusedGraphStep
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep, passes
from worldstream.worlds.wan.fp8_matmul import compute_fp8
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.rollout import CELL_PX, WanModel, WanRollout
from worldstream.worlds.wan.start_picture import SETTLED

GIB = 2**30
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "B200": 2250.0}  # dense bf16 of the data sheets
ACTION = Action(forward_m=3.0, yaw_rad=0.2)


@dataclass(frozen=True, slots=True)
class Way:
    """How blocks are run."""

    step: type[EagerStep]
    kernels: bool = False
    eight: bool = False  # products
    attention: str = "never"  # self-attention in eight bits: one of fused_transformer.EIGHT


# the plain form, one recording of that, one of fused operators, that with products in eight bits, with the commit in
# the next block's first pass, and with attention in eight bits, which has to be a library's on a GPU
WAYS = {
    "eager": Way(EagerStep),
    "graph": Way(GraphStep),
    "kernels": Way(EagerStep, kernels=True),
    "kernels + graph": Way(GraphStep, kernels=True),
    "kernels + graph, fp8": Way(GraphStep, kernels=True, eight=True),
    "kernels + fused commit": Way(FusedStep, kernels=True),
    "kernels + fused commit + graph": Way(FusedGraphStep, kernels=True),
    "kernels + fused commit + graph, fp8": Way(FusedGraphStep, kernels=True, eight=True),
    "kernels + graph, fp8, fp8 attention": Way(GraphStep, kernels=True, eight=True, attention="always"),
    "kernels + fused commit + graph, fp8, fp8 attention": Way(
        FusedGraphStep, kernels=True, eight=True, attention="always"
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """What the order promises of a case on one H100: the block's milliseconds, at most; or frames/s, at least."""

    ms: float | None = None
    fp8_ms: float | None = None
    fps: float | None = None
    decode_ms: float | None = None
    memory_gib: float | None = None
    share: float | None = None  # of the bf16 product's ceiling


TARGETS = {
    ("self-forcing", 21, "taehv"): Target(ms=300.0, fp8_ms=240.0, decode_ms=5.0, share=0.6),
    ("self-forcing", 12, "taehv"): Target(ms=200.0, fp8_ms=200.0, decode_ms=5.0, memory_gib=14.0, share=0.6),
    ("matrix-game-2-universal", 6, "taehv"): Target(fps=75.0),
    ("matrix-game-2-universal", 6, "vae"): Target(fps=75.0),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Of one block, milliseconds, medians."""

    block: float
    drawing: float  # denoising passes and the clean one, on the device
    decoding: float  # until the last picture is on the host
    ahead: float  # a block, with nobody waiting and decoding beside the next


def timed(rollout: WanRollout, warm: int, blocks: int) -> Times:
    """After `warm` blocks, which fill the window, load the kernels and make the recording."""
    for _ in range(warm):
        list(rollout.step(ACTION))
    whole, drawing = [], []
    for _ in range(blocks):
        at = time.perf_counter()
        frames = list(rollout.step(ACTION))
        whole.append(1e3 * (time.perf_counter() - at))
        drawing.append(frames[0].stages_ms["denoise"])
    at = time.perf_counter()
    for _ in rollout.ahead(ACTION for _ in range(blocks)):
        pass
    ahead = 1e3 * (time.perf_counter() - at) / blocks
    block = statistics.median(whole)
    return Times(block, statistics.median(drawing), block - statistics.median(drawing), ahead)


def measured(
    case: Case, way: str, device: torch.device, small: bool, blocks: int, ceiling_tflops: float | None
) -> Iterator[Figure]:
    """All figures of one case, run one way. `ceiling_tflops`: of a large bf16 product, measured in the same run."""
    cuda, how = device.type == "cuda", WAYS[way]
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = made(case, device, torch.bfloat16 if cuda else torch.float32, small)
    if how.eight:
        compute_fp8(model.transformer, () if small else None)
    if how.kernels:
        model = replace(model, transformer=FusedTransformer.of(model.transformer, how.attention))
    rollout = WanRollout(replace(model, step=how.step))
    rollout.reset(1, "a forest in the morning")
    settled = SETTLED if rollout.begins_from_pictures else 0
    times = timed(rollout, max(case.window, settled) // model.preset.block + 3, blocks)
    name = f"{case.name(small)}, {way}"
    yield from _time_figures(case, model, how, name, times)
    if isinstance(model.transformer, FusedTransformer):
        for shape, choice in model.transformer.choices.items():
            print(f"{name}: attention {shape}: {choice}")
    yield from _work_figures(case, model, name, times, small, ceiling_tflops)
    if cuda:
        what, peak = f"{name}: peak memory", torch.cuda.max_memory_allocated() / GIB
        limit = _target(case).memory_gib
        yield at_most(what, peak, "GiB", limit) if limit and way == "kernels + graph" else Figure(what, peak, "GiB")


def _target(case: Case) -> Target:
    return TARGETS.get((case.family, case.window, case.decoder), Target())


def _time_figures(case: Case, model: WanModel, how: Way, name: str, times: Times) -> Iterator[Figure]:
    preset, target = model.preset, _target(case)
    count, best = passes(preset, False), how.kernels and how.step is not EagerStep
    limit = (target.fp8_ms if how.eight else target.ms) if best and model.transformer.device.type == "cuda" else None
    what = f"{name}: block of {preset.frames} frames"
    yield at_most(what, times.block, "ms", limit) if limit else Figure(what, times.block, "ms")
    fps, what = 1e3 * preset.frames / times.block, f"{name}: frames/s"
    wanted = target.fps if best and model.transformer.device.type == "cuda" else None
    yield at_least(what, fps, "fps", wanted) if wanted else Figure(what, fps, "fps")
    # the fused commit is as many tokens as two passes
    yield Figure(f"{name}: a pass, of {count + 1} a block", times.drawing / (count + 1), "ms")
    yield Figure(f"{name}: denoise and cache pass", times.drawing, "ms")
    what = f"{name}: decode and copy back"
    decode = target.decode_ms if best and model.transformer.device.type == "cuda" else None
    yield at_most(what, times.decoding, "ms", decode) if decode else Figure(what, times.decoding, "ms")
    ahead = 1e3 * preset.frames / times.ahead
    yield Figure(f"{name}: frames/s with nobody waiting, decoded beside the next block", ahead, "fps")


@cache
def work_of(case: Case, small: bool, rows: int, columns: int) -> float:
    """TFLOP of one block, decoding included."""
    network, full, light, preset = shapes(case, small)
    decoded = latent_tflop(full if case.decoder == "vae" else light, rows, columns)
    return block_tflop(network, preset, rows, columns, case.window) + preset.block * decoded


def _work_figures(
    case: Case, model: WanModel, name: str, times: Times, small: bool, ceiling_tflops: float | None
) -> Iterator[Figure]:
    """Operations of a block, and how much of what the chip can do that is."""
    work = work_of(case, small, model.height_px // CELL_PX, model.width_px // CELL_PX)
    yield Figure(f"{name}: work of a block", work, "TFLOP")
    delivered = 1e3 * work / times.block
    yield Figure(f"{name}: delivered", delivered, "TFLOP/s")
    if model.transformer.device.type != "cuda":
        return
    if ceiling_tflops:
        share, wanted = delivered / ceiling_tflops, _target(case).share
        what = f"{name}: share of the bf16 product measured here"
        yield at_least(what, share, "", wanted) if wanted and "kernels" in name else Figure(what, share, "")
    device = torch.cuda.get_device_name()
    for chip, peak in PEAK_TFLOPS.items():
        if chip in device:
            yield Figure(f"{name}: share of the data sheet's {peak:g} TFLOP/s", delivered / peak, "")
