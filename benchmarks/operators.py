"""Each GPU kernel: microseconds and GB/s against a copy measured in the same run, and against its torch twin.

    python benchmarks/operators.py [--quick] [--json FILE] [--size 832x480]
    compute-sanitizer --tool racecheck python benchmarks/operators.py --check

On a GPU every kernel is first compared with its twin on fresh random inputs, with poisoned outputs; what agrees is
timed, and the hash of its sources recorded in kernels/verified.json. Without a GPU, and with --quick, nothing is timed:
all kernels are compiled (--quick: for one architecture, else for five) and executed on this CPU on small inputs.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.operator_cases import REHEARSAL, SIZES, Case, Size, cases, worst_difference
from benchmarks.report import Figure, print_table, write
from worldstream.kernels import build
from worldstream.kernels.cubins import CubinCache, default_folder
from worldstream.kernels.headers import source_hash
from worldstream.kernels.host_check import check
from worldstream.kernels.inspection import inspect
from worldstream.kernels.launch import Launch
from worldstream.kernels.verification import RECORD, Verification, keep

PREDICTED_GBPS = 3000.0  # copy of one H100, from which NOTES.md predicts
LAUNCHES, REPLAYS = 20, 15  # in one CUDA graph; of which the median counts
SETS = 6  # of inputs, taken by turns, so that none is in the L2 cache when its turn comes


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What this GPU does at best, measured in the same run."""

    copy_gbps: float  # read and written bytes of a 2 GiB copy
    bf16_tflops: float  # 8192 x 8192 x 8192
    fp8_tflops: float | None  # the same with a scale for each row; None where the GPU has no FP8


def median_us(run: Callable[[], None], count: int) -> float:
    """Microseconds of one of `count` launches that `run` enqueues, captured as a CUDA graph and replayed."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()  # everything is loaded before the capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    spent = []
    for _ in range(REPLAYS + 3):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        graph.replay()
        ended.record()
        ended.synchronize()
        spent.append(1e3 * began.elapsed_time(ended) / count)
    return sorted(spent[3:])[REPLAYS // 2]


def ceilings() -> Ceilings:
    """Random operands: zeros would run faster than numbers."""
    source = torch.randn(1 << 29, device="cuda", dtype=torch.bfloat16)  # 1 GiB
    target = torch.empty_like(source)
    copy_us = median_us(lambda: (target.copy_(source), None)[1], 1)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    flops = 2 * 8192**3
    bf16_us = median_us(lambda: (torch.mm(a, b), None)[1], 1)
    fp8_us = None
    if torch.cuda.get_device_capability() >= (8, 9):
        a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        ones = torch.ones(8192, 1, device="cuda")
        fp8_us = median_us(lambda: (torch._scaled_mm(a8, b8, ones, ones.t(), out_dtype=torch.bfloat16), None)[1], 1)
    return Ceilings(2 * source.nbytes / copy_us / 1e3, flops / bf16_us / 1e6, fp8_us and flops / fp8_us / 1e6)


def agrees(case: Case, run: Callable[[tuple[Launch, ...]], None]) -> float:
    """The worst difference from the twin, in units of the last place of the type. Raises AssertionError beyond 1, or
    where a value was left unwritten or written where none belongs."""
    run(case.launches())
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # a fault shows here
    return worst_difference(case, case.twin())


def timed(size: Size, number: int, kernels: build.Loader, copy_gbps: float) -> list[Figure]:
    """Figures of the case of this number, on inputs of several seeds."""
    sets = [next(islice(cases(size, "cuda", seed), number, None)) for seed in range(1, SETS + 1)]
    planned = [case.launches() for case in sets]

    def kernel() -> None:
        for i in range(LAUNCHES):
            assert kernels.run(planned[i % SETS], torch.cuda.current_stream().cuda_stream)

    def twin() -> None:
        for i in range(SETS):
            sets[i].twin()

    us, twin_us = median_us(kernel, LAUNCHES), median_us(twin, SETS)
    name, gbps = f"{sets[0].operator} {sets[0].label}", sets[0].bytes / us / 1e3
    return [
        Figure(f"{name}, time", us, "µs", ceiling=sets[0].bytes / copy_gbps / 1e3),
        Figure(f"{name}, traffic", gbps, "GB/s", ceiling=copy_gbps),
        Figure(f"{name}, torch twin", twin_us, "µs"),
        Figure(f"{name}, predicted", sets[0].bytes / PREDICTED_GBPS / 1e3, "µs"),
    ]


def on_gpu(sizes: Iterable[Size], kernels: build.Loader) -> Iterator[tuple[list[Figure], dict[str, list[str]]]]:
    """After each size, all figures so far and the cases of every operator that has agreed in all of its own. Prints
    those that did not, which are not timed."""
    best = ceilings()
    figures = [
        Figure("copy", best.copy_gbps, "GB/s"),
        Figure("bf16 matrix product", best.bf16_tflops, "TFLOP/s"),
        *([Figure("fp8 matrix product", best.fp8_tflops, "TFLOP/s")] if best.fp8_tflops else []),
    ]
    good: dict[str, list[str]] = {}
    bad: set[str] = set()
    for size in sizes:
        for number, case in enumerate(cases(size, "cuda", seed=time.time_ns() % 100_000)):
            try:
                worst = agrees(case, partial(_launched, kernels))
            except (AssertionError, RuntimeError) as error:
                print(f"{case.operator} {case.label}: NOT TIMED: {str(error).splitlines()[0]}")
                bad.add(case.operator)
                continue
            print(f"{case.operator} {case.label}: agrees with its twin, worst {worst:.2f} units in the last place")
            good.setdefault(case.operator, []).append(case.label)
            figures += timed(size, number, kernels, best.copy_gbps)
            torch.cuda.empty_cache()
        yield figures, {name: labels for name, labels in good.items() if name not in bad}


def checked(kernels: build.Loader) -> int:
    """Every case at a small size against its twin on fresh random inputs: 0 where all agree. Times nothing."""
    wrong = 0
    for case in cases(REHEARSAL, "cuda", seed=time.time_ns() % 100_000):
        try:
            print(f"{case.operator} {case.label}: worst {agrees(case, partial(_launched, kernels)):.2f} units")
        except (AssertionError, RuntimeError) as error:
            wrong += 1
            print(f"{case.operator} {case.label}: WRONG: {str(error).splitlines()[0]}")
    return min(1, wrong)


def _launched(kernels: build.Loader, launches: tuple[Launch, ...]) -> None:
    if not kernels.run(launches, torch.cuda.current_stream().cuda_stream):
        raise RuntimeError(
            next(kernels.failed[launch.kernel] for launch in launches if launch.kernel in kernels.failed)
        )


def rehearsal(architectures: Sequence[str]) -> list[Figure]:
    """All that needs no GPU. Raises where a kernel does not compile, spills, disagrees with its twin, or reaches memory
    in a way that `host_check` finds wrong."""
    began = time.perf_counter()
    compiler, cache = build.Nvrtc(), CubinCache(default_folder())
    kernels = {launch.kernel for size in SIZES.values() for case in cases(size, "meta") for launch in case.launches()}
    for kernel in sorted(kernels, key=str):
        for architecture in architectures:
            seen = inspect(build.compiled(kernel, architecture, compiler, cache))[kernel.entry]
            assert not seen.spills, f"{kernel} for sm_{architecture} spills"
    compiled_s = time.perf_counter() - began
    folder = default_folder() / "host"
    checked = list(cases(REHEARSAL, "cpu"))

    worst = max(agrees(case, partial(check, folder=folder)) for case in checked)
    return [
        Figure("kernels compiled", len(kernels) * len(architectures), ""),
        Figure("compiling, or reading what was kept", compiled_s, "s"),
        Figure("cases executed on this CPU, every access watched", len(checked), ""),
        Figure("worst difference from the twin", worst, "ulp"),
    ]


def driver_version() -> str:
    """As NVIDIA names it."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().split("Module")[1].split()[0]
    except (OSError, IndexError):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="GPU kernels against a copy and their torch twins")
    parser.add_argument("--quick", action="store_true", help="what needs no GPU: compile, execute on the CPU")
    parser.add_argument("--check", action="store_true", help="on a GPU: parity at a small size alone, for a sanitizer")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    options = parser.parse_args()
    kernels = build.loader()
    if options.quick or isinstance(kernels, str):
        print(f"rehearsal, nothing is timed ({'--quick' if options.quick else kernels})")
        figures = rehearsal(["90a"] if options.quick else build.ARCHITECTURES)
        print_table(figures)
        print("compiled, CPU-checked, not GPU-verified: run this on a GPU for figures")
        if options.quick and options.json:
            write(options.json, figures)
        return
    print(build.status())
    if options.check:
        raise SystemExit(checked(kernels))
    sizes = SIZES.values() if options.size == "all" else [SIZES[options.size]]
    name, driver, nvrtc = torch.cuda.get_device_name(), driver_version(), build.Nvrtc().version
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    timings: list[Figure] = []
    for timings, good in on_gpu(sizes, kernels):  # kept after each size: the machine may be taken away
        keep({op: Verification(source_hash(op), name, driver, nvrtc, date, tuple(c)) for op, c in good.items()})
        if options.json:
            hashes = {f"source of {operator}": source_hash(operator) for operator in good}
            write(options.json, timings, {"gpu": name, "driver": driver, "nvrtc": nvrtc} | hashes)
            if RECORD.exists():
                shutil.copy(RECORD, options.json.with_name("verified.json"))
    print_table(timings)


if __name__ == "__main__":
    main()
