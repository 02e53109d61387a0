"""A pass of an open checkpoint's transformer on this CPU: plain torch and OpenVINO, in turn, at middling shapes.

    python benchmarks/cpu_engines.py [--quick] [--json FILE] [--repeats N]

Random weights; 8 layers of 512 channels, smaller than any published checkpoint. The window is full. Medians and the
least, because a pass in float32 is limited by the cores, which others may use.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.open_models import randomly
from benchmarks.report import Figure, print_table, write
from worldstream.worlds.machine import model_threads
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.live import live
from worldstream.worlds.wan.openvino_backend import OpenVINOOptions, OpenVINOSteps, still
from worldstream.worlds.wan.transformer import WanTransformer

MIDDLING = WanConfig(dim=512, ffn_dim=2048, heads=4, layers=8)
SIZES = ((192, 320, 9), (96, 160, 6))  # height, width, window


@torch.inference_mode()
def figures(height: int, width: int, window: int, repeats: int) -> list[Figure]:
    """Of one size: milliseconds of a pass over three latent frames."""
    with torch.device("meta"):
        empty = WanTransformer(MIDDLING)
    network = randomly(empty, torch.device("cpu"), torch.float32)
    assert isinstance(network, WanTransformer)
    network.cast(torch.float32)
    preset, rows, columns = live("self-forcing"), height // 8, width // 8
    at = time.perf_counter()
    ours = OpenVINOSteps(OpenVINOOptions(), print).engine(network, preset, rows, columns, window)
    compiled = time.perf_counter() - at
    if isinstance(ours, str):
        raise SystemExit(f"OpenVINO: {ours}")
    steps = EagerStep(network, preset, rows, columns, window), ours
    block = still(network, preset, (rows, columns))
    times: dict[str, list[float]] = {step.name: [] for step in steps}
    for i in range(window // preset.block + 1 + repeats):
        for step in steps:
            at = time.perf_counter()
            step.block(block)
            if i > window // preset.block:
                times[step.name].append(1e3 * (time.perf_counter() - at))
    name = f"8 layers of 512, {width}×{height}, window {window}"
    found = [Figure(f"{name}: OpenVINO compiles", compiled, "s")]
    for way, spent in times.items():
        found += [Figure(f"{name}, {way}: a pass", statistics.median(spent), "ms")]
        found += [Figure(f"{name}, {way}: the quickest pass", min(spent), "ms")]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller size alone, five passes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--repeats", type=int, help="timed passes (default 15; --quick 5)")
    options = parser.parse_args()
    torch.set_num_threads(model_threads())
    found = []
    for size in SIZES[1:] if options.quick else SIZES:
        found += figures(*size, options.repeats or (5 if options.quick else 15))
    if options.json:
        write(options.json, found, {"device": "cpu", "weights": "random", "threads": str(model_threads())})
    print_table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
