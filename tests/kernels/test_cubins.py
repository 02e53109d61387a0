"""Every kernel compiled for every architecture, and what the compiler made of it: no stack, no spills, no subroutines,
wide access."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.operator_cases import SIZES, cases
from worldstream.kernels import plugins
from worldstream.kernels.build import ARCHITECTURES, Nvrtc, compiled
from worldstream.kernels.cubins import CubinCache
from worldstream.kernels.inspection import Inspection, accesses, disassembled, inspect
from worldstream.kernels.launch import SOURCES, Kernel

# Loads of device memory that are not 16 bytes wide: indices, counts and levels; one more where a scale is read.
NARROW_LOADS = {"qk_norm_rope": 1, "scheduler_step": 2, "action_attention": 16}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CUDA's compiler and headers are wheels for Linux")


def kernels_of(name: str) -> list[Kernel]:
    """The specialisations that a world launches, planned on tensors that have shapes and no memory."""
    with torch.device("meta"):
        planned = [launch.kernel for case in cases(SIZES[name], "meta") for launch in case.launches()]
    return list(dict.fromkeys(planned))


def made(kernel: Kernel, architecture: str, folder: Path) -> Inspection:
    cubin = compiled(kernel, architecture, Nvrtc(), CubinCache(folder))
    assert cubin[:4] == b"\x7fELF", "a cubin, not PTX"
    return inspect(cubin)[kernel.entry]


def complaints(kernel: Kernel, seen: Inspection) -> list[str]:
    """What is wrong with a compiled kernel."""
    sizes = dict(kernel.defines)
    fp8 = bool(sizes.get("FP8"))
    scaled = int(fp8 and kernel.source == "qk_norm_rope")
    # rows of float8 are stored eight bytes at once, and their scale; chroma is half as wide as luma
    pieces = -(-sizes.get("ROW_WIDTH", 0) // (8 * sizes.get("ROW_THREADS", 1)))
    narrow_stores = pieces + 1 if fp8 else 2 if kernel.source == "i420" else 0
    checks = {
        "stack": seen.stack == 0 and seen.local == 0,
        "spills": seen.spills == 0,
        "subroutines": seen.subroutines == 0,
        "registers": seen.registers <= 128,
        "wide loads": seen.wide_loads > 0 and seen.narrow_loads <= NARROW_LOADS.get(kernel.source, 0) + scaled,
        "wide stores": (seen.wide_stores > 0 or fp8) and seen.narrow_stores <= narrow_stores,
    }
    return [f"{kernel}: {name}: {seen}" for name, right in checks.items() if not right]


# The features that a kernel may be compiled without; the simpler forms are compiled for one architecture.
SIMPLER = {"AFFINE": 1, "GATED": 0, "RENOISE": 0, "KEEP_UNROTATED": 0, "INPUT_UINT8": 1, "LATENT_BF16": 0}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_of_the_1_3b_worlds(architecture: str, compiled_folder: Path) -> None:
    kernels = kernels_of("832x480")
    if architecture != "90a":
        kernels = [kernel for kernel in kernels if not set(kernel.defines) & set(SIMPLER.items())]
    assert {kernel.source for kernel in kernels} == {path.stem for path in SOURCES.glob("*.cu")}
    wrong = [line for kernel in kernels for line in complaints(kernel, made(kernel, architecture, compiled_folder))]
    assert wrong == []


def test_other_worlds_need_few_kernels_more(compiled_folder: Path) -> None:
    """Specialisations depend on widths alone; the wider rows of 14B, for the reference GPU's architecture."""
    known = set(kernels_of("832x480"))
    assert set(kernels_of("matrix-game")) <= known
    wider = [kernel for kernel in kernels_of("14b") if kernel not in known]
    assert {kernel.source for kernel in wider} == {
        "qk_norm_rope", "norm_modulate", "residual_norm", "rms_norm", "bias_gelu", "quantise_rows",
    }  # fmt: skip
    wrong = [line for kernel in wider for line in complaints(kernel, made(kernel, "90a", compiled_folder))]
    assert wrong == []


def plugin_kernels(scale: float | None) -> list[Kernel]:
    """What TensorRT's plugins launch in a pass of the 1.3B worlds."""
    x, parts, dim, head, eps = (1, 4680, 1536), (1, 3, 6, 1536), 1536, 128, 1e-6

    def ceil_div(a: int, b: int) -> int:
        return -(-a // b)

    launches = [
        plugins.norm_modulate(x, parts, dim, 0, eps, scale, ceil_div),
        plugins.residual_norm(x, parts, None, dim, 2, 0, eps, scale, ceil_div),
        plugins.residual_norm(x, parts, parts, dim, 5, 0, eps, scale, ceil_div),
        plugins.residual_norm(x, None, parts, dim, 0, 3, eps, scale, ceil_div),
        plugins.gelu((1, 4680, 8960), 8960, scale, ceil_div),
    ]
    if scale is None:
        launches.append(plugins.qk_norm_rope((1, 4680, 3 * dim), dim, head, eps, 1.0, ceil_div))
        launches.append(plugins.rms_norm(x, dim, head, eps, 1.0, ceil_div))
    return [launch.kernel for launch in launches]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_of_the_plugins(architecture: str, compiled_folder: Path) -> None:
    """The same sources with the entry that TensorRT calls: all forms for the reference GPU, for the others those that
    store in another layout than the plain entry does."""
    kernels = [*plugin_kernels(None), *plugin_kernels(0.01)]
    assert {kernel.source for kernel in kernels} == set(plugins.PLUGIN_SOURCES)
    if architecture != "90a":
        kernels = [kernel for kernel in kernels if "HEAD_WIDTH" in dict(kernel.defines)]
    wrong = [line for kernel in kernels for line in complaints(kernel, made(kernel, architecture, compiled_folder))]
    assert wrong == []


WRONG = """extern "C" __global__ void wrong(const float* x, const int* at, float4* out) {
    float held[64];
    for (int i = 0; i < 64; ++i) held[at[i]] = x[i];
    out[threadIdx.x] = make_float4(held[at[threadIdx.x]], x[64] / x[65], 0, 0);
}"""


@pytest.mark.parametrize("architecture", ["80", "90a", "120"])
def test_the_inspection_counts_as_the_disassembler(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a kernel that is wrong in every way: an array indexed at run time, loads of four bytes."""
    monkeypatch.setattr("worldstream.kernels.launch.SOURCES", tmp_path)
    (tmp_path / "wrong.cu").write_text(WRONG)
    kernel = Kernel("wrong", "wrong", ())
    cubin = compiled(kernel, architecture, Nvrtc(), CubinCache(tmp_path / "kept"))
    assert accesses(cubin) == disassembled(cubin)
    assert accesses(cubin)["wrong"]["STG wide"] == 1
    found = {line.split(": ")[1] for line in complaints(kernel, inspect(cubin)["wrong"])}
    assert {"stack", "spills", "wide loads", "subroutines"} <= found
