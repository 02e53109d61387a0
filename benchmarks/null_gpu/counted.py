"""Every case of `open_checkpoints.py` at its full shapes on the stand-in: what the host asks of a GPU for one block."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.open_blocks import ACTION, WAYS
from benchmarks.open_checkpoints import PLAN
from benchmarks.open_models import Case, made
from benchmarks.report import ROOT, Figure, print_table, write
from worldstream.worlds.core import Frame
from worldstream.worlds.wan.fp8_matmul import compute_fp8
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.rollout import WanRollout
from worldstream.worlds.wan.start_picture import SETTLED

if TYPE_CHECKING:
    from benchmarks.null_gpu.inside import NullGpu

BLOCKS = 5
GIB = 2**30
POISON = 0xA5  # what pinned memory holds until the host has waited for the copy into it
RECORD = ROOT / "benchmarks" / "results" / "null_gpu.json"
PER_BLOCK = {
    "kernels": "launches", "enqueued one by one": "enqueued", "of our own": "own", "products": "products",
    "graph launches": "replays", "waits": "waits", "copies to the device": "copies_in",
    "bytes to the device": "bytes_in", "bytes to the host": "bytes_out",
    "copies from or to unpinned memory": "pageable",
    "allocations by the driver": "mallocs",
}  # fmt: skip


def counted(null: NullGpu) -> None:
    """All cases; prints and writes their figures, those that are there so far after each. Raises RuntimeError where a
    picture is handed out that has not been copied."""
    found: list[Figure] = []
    for case, way in PLAN:
        found += case_figures(null, case, way)
        write(RECORD, found, {"device": "none: counts on a stand-in, no times and no results of a GPU"})
    print_table(found)


def case_figures(null: NullGpu, case: Case, way: str) -> Iterator[Figure]:
    """Of one case, run one way."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    how, device = WAYS[way], torch.device("cuda")
    model = made(case, device, torch.bfloat16, False)
    if how.eight:
        compute_fp8(model.transformer)
    if how.kernels:
        model = replace(model, transformer=FusedTransformer.of(model.transformer))
    rollout = WanRollout(replace(model, step=how.step))
    rollout.reset(1, "a forest in the morning")
    warm = max(case.window, SETTLED if rollout.begins_from_pictures else 0) // model.preset.block + 3
    for _ in range(warm):
        checked(rollout.step(ACTION))
    recorded = null.counts()["captures"]
    before, spent, enqueued = null.counts(), [], []
    for _ in range(BLOCKS):
        at = time.perf_counter()
        frames = checked(rollout.step(ACTION))
        spent.append(1e3 * (time.perf_counter() - at))
        enqueued.append(frames[0].stages_ms["denoise"])
    after, name = null.counts(), f"{case.name(False)}, {way}"
    checked(rollout.ahead(ACTION for _ in range(3)))
    for what, field in PER_BLOCK.items():
        yield Figure(f"{name}: {what} of a block", (after[field] - before[field]) / BLOCKS, "")
    if recorded and how.step.name != "eager":
        yield Figure(f"{name}: nodes of the newest graph", before["nodes"], "")
    yield Figure(f"{name}: host, of a block", statistics.median(spent), "ms")
    yield Figure(f"{name}: host, until a block is enqueued", statistics.median(enqueued), "ms")
    yield Figure(f"{name}: peak memory", torch.cuda.max_memory_allocated() / GIB, "GiB")
    yield Figure(f"{name}: memory taken from the driver", torch.cuda.max_memory_reserved() / GIB, "GiB")
    yield Figure(f"{name}: pinned memory", after["pinned"] / GIB, "GiB")


def checked(frames: Iterator[Frame]) -> list[Frame]:
    """Frames whose pictures have reached the host."""
    found = []
    for frame in frames:
        for picture in (frame.rgb, frame.i420):
            if picture is not None and bool(np.all(picture == POISON)):
                raise RuntimeError(f"frame {frame.index} is handed out before its picture was copied")
        found.append(frame)
    return found
