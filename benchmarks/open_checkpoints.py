"""Open checkpoints at their full shapes with random weights: block time, stages, frame rate, operations and memory.

    python benchmarks/open_checkpoints.py [--quick] [--json FILE] [--device cuda|cpu] [--only NAME ...] [--seconds S]
                                          [--ways WAY ...] [--no-fp8-attention]

Random weights of the published shapes take as long as trained ones. No files are read: the transformer and both
decoders are made where they run. Every case warms up past its window, then times blocks of a walk, pictures copied
back included. The most telling cases come first; after --seconds no new one is begun, and what was left out is named.
`--quick` without a GPU is a rehearsal: tiny shapes, whose times say nothing about the models.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.open_blocks import WAYS, measured
from benchmarks.open_models import Case
from benchmarks.operators import ceilings, driver_version
from benchmarks.report import Figure, print_table, write
from worldstream.kernels import build
from worldstream.kernels.headers import source_hash
from worldstream.kernels.verification import operators

WIDE, NARROW = Case("self-forcing", 21), Case("self-forcing", 12)
GAME, GAME_VAE = Case("matrix-game-2-universal", 6), Case("matrix-game-2-universal", 6, "vae")
BEST, EIGHT = "kernels + graph", "kernels + graph, fp8"
FUSED, FUSED_EIGHT = "kernels + fused commit + graph", "kernels + fused commit + graph, fp8"
ALL_EIGHT = "kernels + fused commit + graph, fp8, fp8 attention"
# the most telling first
PLAN: tuple[tuple[Case, str], ...] = (
    (WIDE, BEST), (WIDE, ALL_EIGHT), (NARROW, ALL_EIGHT), (NARROW, BEST), (GAME, BEST), (WIDE, EIGHT), (WIDE, "eager"),
    (NARROW, EIGHT), (GAME_VAE, BEST), (GAME, ALL_EIGHT), (NARROW, "eager"), (GAME, "eager"), (WIDE, FUSED),
    (WIDE, FUSED_EIGHT), (NARROW, FUSED), (Case("self-forcing", 6), BEST), (Case("self-forcing", 12, "vae"), BEST),
    (WIDE, "graph"), (WIDE, "kernels"), (GAME, FUSED), (Case("longlive", 12), BEST),
    (Case("causal-forcing-framewise", 12), BEST), (Case("matrix-game-2-gta-drive", 4), BEST),
)  # fmt: skip
# one of every kind
REHEARSED = (
    (NARROW, "eager"), (NARROW, EIGHT), (NARROW, ALL_EIGHT), (GAME_VAE, FUSED),
    (Case("matrix-game-2-gta-drive", 4), BEST), (Case("causal-forcing-framewise", 12), "kernels + fused commit"),
)  # fmt: skip


def facts(device: torch.device, small: bool) -> dict[str, str]:
    """What the figures depend on: device, driver, precision, and the kernels' sources."""
    found = {"device": "cpu", "weights": "random", "dtype": "float32"}
    if device.type == "cuda":
        found |= {"device": torch.cuda.get_device_name(), "driver": driver_version(), "dtype": "bfloat16"}
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
        found |= {"kernels": build.status()}
    if small:
        found["shapes"] = "tiny: a rehearsal"
    return found | {f"source of {name}": source_hash(name) for name in operators()}


def figures(
    plan: tuple[tuple[Case, str], ...], device: torch.device, small: bool, blocks: int, seconds: float
) -> Iterator[list[Figure]]:
    """Of one case after another; none is begun after `seconds`. Says which were left out, and which failed."""
    until, left, ceiling = time.monotonic() + seconds, [], None
    if device.type == "cuda":
        best = ceilings()
        ceiling = best.bf16_tflops
        yield [Figure("bf16 product, measured here", ceiling, "TFLOP/s"), Figure("copy", best.copy_gbps, "GB/s")]
        if best.fp8_tflops:
            yield [Figure("fp8 product, measured here", best.fp8_tflops, "TFLOP/s")]
    for case, way in plan:
        if time.monotonic() > until:
            left.append(f"{case.name(small)}, {way}")
            continue
        try:
            yield list(measured(case, way, device, small, blocks, ceiling))
        except RuntimeError as error:  # one case too large, or broken, must not cost the others
            print(f"{case.name(small)}, {way}: FAILED: {str(error).splitlines()[0][:200]}")
            yield [Figure(f"{case.name(small)}, {way}: failed", 1, "", "= 0", False)]
    if left:
        print(f"no time was left for: {'; '.join(left)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer blocks; without a GPU tiny shapes: a rehearsal")
    parser.add_argument("--json", type=Path, help="also write the figures here, after every case")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=sorted({case.family for case, _ in PLAN}))
    parser.add_argument("--blocks", type=int, help="timed blocks of a case (default 12; --quick 6)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help="how blocks are run")
    parser.add_argument("--no-fp8-attention", action="store_true", help="leave out what needs a library for that")
    parser.add_argument("--seconds", type=float, help="begin no case after so long (default 320; --quick 150)")
    options = parser.parse_args()
    device, quick = torch.device(options.device), options.quick
    if device.type == "cpu" and not quick:
        parser.error("full shapes need a GPU; rehearse with --quick")
    small = device.type == "cpu"
    plan = tuple(
        (case, way)
        for case, way in (REHEARSED if small else PLAN)
        if not (options.only and case.family not in options.only)
        and not (options.ways and way not in options.ways)
        and not (options.no_fp8_attention and WAYS[way].attention == "always")
    )
    found: list[Figure] = []
    blocks = options.blocks or (2 if small else 6 if quick else 12)
    for more in figures(plan, device, small, blocks, options.seconds or (150.0 if quick else 320.0)):
        found += more
        if options.json:
            write(options.json, found, facts(device, small))
    print_table(found)
    return 1 if any(figure.name.endswith("failed") for figure in found) else 0


if __name__ == "__main__":
    sys.exit(main())
