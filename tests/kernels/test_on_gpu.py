"""The kernels on this machine's GPU, through the functions' own launches, against their twins: fresh random inputs on
every run, poisoned outputs. Under `compute-sanitizer --tool memcheck` and `--tool racecheck` it is the same command.

Skipped where there is no GPU, which says nothing of the kernels; `kernels/verified.json` is written by the benchmark.
"""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.operator_cases import REHEARSAL, SIZES, Size, cases, worst_difference
from worldstream.kernels import build
from worldstream.kernels.qk_norm_rope import qk_norm_rope

KERNELS = build.loader()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(isinstance(KERNELS, str), reason=f"no kernels here: {KERNELS}")]


@pytest.mark.parametrize("size", [REHEARSAL, *SIZES.values()], ids=lambda size: size.name)
def test_all_operators(size: Size) -> None:
    assert not isinstance(KERNELS, str)
    for case in cases(size, "cuda", seed=time.time_ns() % 100_000):
        assert KERNELS.run(case.launches(), torch.cuda.current_stream().cuda_stream), KERNELS.failed
        torch.cuda.synchronize()
        assert worst_difference(case, case.twin()) <= 1, f"{case.operator} {case.label}"


def test_a_captured_launch_reads_its_slot_when_it_is_replayed() -> None:
    """What a CUDA graph of a chunk relies on: the ring's row is a number on the device."""
    q, k, v = torch.randn(1, 8, 3 * 256, device="cuda").bfloat16().chunk(3, -1)
    weight, table = torch.ones(256, device="cuda"), torch.randn(8, 64, device="cuda")
    slots, rings = torch.tensor([0], device="cuda"), torch.zeros(2, 1, 24, 2, 128, device="cuda").bfloat16()
    given = (q, k, v, weight, weight, table.cos(), table.sin(), slots, rings[0], rings[1])
    qk_norm_rope(*given, eps=1e-6)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        qk_norm_rope(*given, eps=1e-6)
    for slot in (16, 3):
        rings.zero_()
        slots.fill_(slot)
        graph.replay()
        assert torch.equal(rings[1, 0, slot : slot + 8].flatten(1), v[0])
        assert int((rings[1] != 0).any(-1).any(-1).sum()) == 8
