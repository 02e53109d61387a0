"""What the checks on a CPU find: a kernel planted with each mistake is named with it, its right form passes.

And all kernels under them, at sizes that do not fill their blocks and at the widths of all worlds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ctypes import c_int
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.operator_cases import Size, cases, worst_difference
from worldstream.kernels import host
from worldstream.kernels.host_check import check
from worldstream.kernels.launch import SOURCES, Argument, Kernel, Launch, pointer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CUDA's headers are wheels for Linux")

ENTRY = 'extern "C" __global__ void planted(const float* x, float* out, int which, int n)'

# what is planted: the kernel's body, and the words that name the mistake
PLANTED = {
    "a missing barrier": (
        "__shared__ float kept[64]; kept[threadIdx.x] = x[threadIdx.x]; out[threadIdx.x] = kept[63 - threadIdx.x];",
        "shared memory",
    ),
    "a warp that trusts its own order": (
        "__shared__ float kept[64]; kept[threadIdx.x] = x[threadIdx.x]; out[threadIdx.x] = kept[threadIdx.x ^ 1];",
        "shared memory",
    ),
    "a second round without a barrier": (
        "__shared__ float kept[64]; float sum = 0; for (int i = 0; i < 2; ++i) { "
        "kept[threadIdx.x] = x[threadIdx.x] + i; __syncthreads(); "
        "sum += kept[63 - threadIdx.x]; } out[threadIdx.x] = sum;",
        "writes what another thread reads|reads what another thread writes",
    ),
    "all threads write one value": (
        "__shared__ float total; total = 1.0f + threadIdx.x; __syncthreads(); out[threadIdx.x] = total;",
        "writes what another thread writes",
    ),
    "shared memory that nobody has written": (
        "__shared__ float kept[64]; if (threadIdx.x < 63) kept[threadIdx.x] = x[threadIdx.x]; __syncthreads(); "
        "out[threadIdx.x] = kept[threadIdx.x];",
        "no thread has written",
    ),
    "shared memory of the block before": (
        "__shared__ float kept[64]; if (blockIdx.x == 0) kept[threadIdx.x] = x[threadIdx.x]; __syncthreads(); "
        "out[blockIdx.x * 64 + threadIdx.x] = kept[threadIdx.x];",
        "no thread has written",
    ),
    "blocks that depend on each other": (
        "if (blockIdx.x == 0) out[threadIdx.x] = x[threadIdx.x]; else out[64 + threadIdx.x] = out[threadIdx.x];",
        "what another thread",
    ),
    "two blocks that write one place": ("out[threadIdx.x] = x[threadIdx.x];", "writes what another thread writes"),
    "a shuffle in one branch": (
        "float v = x[threadIdx.x]; if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(0xffffffffu, v, 1);\n"
        "__syncthreads(); out[blockIdx.x * 64 + threadIdx.x] = v;",
        "a shuffle that never meets",
    ),
    "a shuffle after some have left": (
        "if (threadIdx.x >= 40) return; out[blockIdx.x * 64 + threadIdx.x] = "
        "__shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);",
        "a shuffle that never meets",
    ),
    "a shuffle with those outside its mask": (
        "if (threadIdx.x % 32 < 16) out[blockIdx.x * 64 + threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 16);",
        "takes no part",
    ),
    "a mask without oneself": (
        "out[blockIdx.x * 64 + threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 1);",
        "leaves out its own thread",
    ),
    "a barrier in one branch": (
        "if (threadIdx.x < 32) __syncthreads(); else __shfl_xor_sync(0xffffffffu, n, 1);\n"
        "if (threadIdx.x < 40) __shfl_xor_sync(0xffffffffu, n, 1);",
        "never meets",
    ),
    "barriers of two branches": (
        "if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();\nout[blockIdx.x * 64 + threadIdx.x] = 0;",
        "a barrier at",
    ),
    "a read over the end": ("out[blockIdx.x * 64 + threadIdx.x] = x[threadIdx.x + 65];", "reads outside|outside every"),
    "a write before the beginning": (
        "out[(int)(blockIdx.x * 64 + threadIdx.x) - 1] = 1;", "writes outside|outside every"
    ),
    "sixteen bytes at a border of four": (
        "if (threadIdx.x + blockIdx.x == 0) out[0] = reinterpret_cast<const float4*>(x + 1)->y;",
        "no multiple",
    ),
    "an index beyond an array of registers": (
        "float held[4] = {x[0], x[1], x[2], x[3]}; out[blockIdx.x * 64 + threadIdx.x] = held[n - 60];",
        "an index outside its array",
    ),
    "an index beyond int": (
        "const int row = 1048576 * n; out[blockIdx.x * 64 + threadIdx.x] = row * n;",
        "a product beyond",
    ),
}  # fmt: skip

# Beside a right kernel: one that reads a column of three, one that reads the next column, one that keeps a secret.
RIGHT = (
    "__shared__ float kept[64]; const int at = blockIdx.x * 64 + threadIdx.x; float v = x[threadIdx.x]; "
    "v += __shfl_xor_sync(0xffffffffu, v, 16); kept[threadIdx.x] = v; __syncthreads(); v = kept[63 - threadIdx.x]; "
    "__syncthreads(); kept[threadIdx.x] = v; if (threadIdx.x >= 32) { out[at] = v; return; } "
    "out[at] = v + __shfl_xor_sync(0xffffffffu, v, 1);",
    "out[blockIdx.x * 64 + threadIdx.x] = x[3 * threadIdx.x];",
    "out[blockIdx.x * 64 + threadIdx.x] = x[3 * threadIdx.x + 1];",
    "out[blockIdx.x * 64 + threadIdx.x] = n + rand();",
)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("worldstream.kernels.launch.SOURCES", tmp_path)
    return tmp_path


def planted(folder: Path, bodies: Sequence[str], which: int, x: Tensor, out: Tensor) -> Launch:
    """Two blocks of 64 threads run the body that is asked for: compiled all at once, a mistake takes no second."""
    cases = "\n".join(f"if (which == {i}) {{\n{body}\n}}" for i, body in enumerate(bodies))
    (folder / "planted.cu").write_text(f"{ENTRY} {{\n{cases}\n}}\n")
    arguments: tuple[Argument, ...] = (pointer(x), pointer(out), c_int(which), c_int(64))
    return Launch(Kernel("planted", "planted", ()), (2, 1), 64, arguments)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_and_named(name: str, sources: Path, compiled_folder: Path) -> None:
    words = PLANTED[name][1]
    bodies = [body for body, _ in PLANTED.values()]
    launch = planted(sources, bodies, list(PLANTED).index(name), torch.randn(64), torch.zeros(128))
    with pytest.raises(host.KernelFault, match=rf"(?s)^planted\(\): block \(\d, 0\), thread \d+: .*({words})"):
        check([launch], compiled_folder)


def test_a_right_kernel_passes(sources: Path, compiled_folder: Path) -> None:
    x, out = torch.randn(64), torch.zeros(128)
    check([planted(sources, RIGHT, 0, x, out)], compiled_folder)
    turned = (x + x[torch.arange(64) ^ 16]).flip(0)
    expected = torch.cat([(turned + turned[torch.arange(64) ^ 1])[:32], turned[32:]])
    assert torch.equal(out, expected.repeat(2))


def test_the_gaps_of_a_strided_view_are_not_its_own(sources: Path, compiled_folder: Path) -> None:
    wide, out = torch.randn(64, 3), torch.zeros(128)
    check([planted(sources, RIGHT, 1, wide[:, 1], out)], compiled_folder)
    assert torch.equal(out[:64], wide[:, 1])
    with pytest.raises(host.KernelFault, match=r"reads outside its tensors: byte 8 .*planted\.cu:9"):
        check([planted(sources, RIGHT, 2, wide[:, 1], out)], compiled_folder)


def test_a_result_that_depends_on_the_order_is_found(sources: Path, compiled_folder: Path) -> None:
    """Where no access betrays it: a state that the threads share outside of all memory that is watched."""
    x, out = torch.randn(64), torch.zeros(128)
    with pytest.raises(host.KernelFault, match=r"^planted\(\): the result depends on the order"):
        check([planted(sources, RIGHT, 3, x, out)], compiled_folder)


def test_what_the_runtime_lacks_is_said_when_it_is_compiled(sources: Path, compiled_folder: Path) -> None:
    body = "static int sum; __sync_fetch_and_add(&sum, n);"
    launch = planted(sources, [body], 0, torch.zeros(64), torch.zeros(128))
    with pytest.raises(RuntimeError, match=r"(?s)planted.* does not compile for the CPU.*atomic"):
        check([launch], compiled_folder)


# Rows that do not fill their blocks, in two batches, at the widths of the worlds and at one that ends within a warp.
WORLDS = [
    Size("1.3B", 1536, 8960, 128, 3, 5, 4, (18, 48), (4, 10)),
    Size("14B", 5120, 13824, 128, 1, 3, 2, (18, 48), (4, 10)),
    Size("narrow", 128, 136, 32, 2, 7, 3, (2, 16), (2, 4)),
]


@pytest.mark.parametrize("size", WORLDS, ids=lambda size: size.name)
def test_all_kernels_pass_at_the_widths_of_all_worlds(size: Size, compiled_folder: Path) -> None:
    """One specialisation of every kernel, of 1.3B also the one in eight bits; test_on_cpu.py has the others, narrow."""
    seen: set[Kernel] = set()
    for case in cases(size, "cpu", batch=2):
        launches = case.launches()
        kernel = launches[-1].kernel
        fresh = kernel.source not in {known.source for known in seen}
        if not fresh and (size is not WORLDS[0] or ("FP8", 1) not in kernel.defines or ("AFFINE", 1) in kernel.defines):
            continue
        seen.add(kernel)
        check(launches, compiled_folder)
        assert worst_difference(case, case.twin()) <= 1, f"{case.operator} {case.label}"
    assert {kernel.source for kernel in seen} == {path.stem for path in SOURCES.glob("*.cu")}
