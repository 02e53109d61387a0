"""What cuDNN makes of our attention in eight bits for a GPU that is not here: plans built from a chip's description.

    python -m venv V
    V/bin/pip install nvidia-cudnn-cu13==9.19.0.56 "cuda-toolkit[cublas,cudart,nvrtc]==13.0.2"
    V/bin/pip install --no-deps nvidia-cudnn-frontend==1.24.1
    python benchmarks/attention_plans.py V/lib/python3.11/site-packages [--json FILE]

cuDNN 9.19 is what torch 2.11 brings; V's Python must be the one that runs this. The graph is the one that a GPU is
asked for (`worlds/wan/cudnn_attention.planned`); cuDNN chooses an engine for the chip as described, compiles its kernel
and says what it needs. The kernel is then taken out of the plan and disassembled. Nothing is run: that numbers are
right, and how fast they come, only a GPU tells. cuDNN's compiler wants a driver's library to be there, so one is made
that says there is no device; it takes a kernel and does nothing with it.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, at_most, print_table, write
from worldstream.kernels.host import find_compiler
from worldstream.kernels.inspection import inspect, tool
from worldstream.worlds.wan.cudnn_attention import PlanShape, planned

SHAPES = {
    "832×480, window 21": PlanShape(1, 4680, 32_760, 12, 128),
    "832×480, window 12": PlanShape(1, 4680, 18_720, 12, 128),
    "640×352, window 6": PlanShape(1, 2640, 5280, 12, 128),
}
H100 = {
    "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000, "multiProcessorCount": 132,
    "warpSize": 32, "maxGridSize": [2**31 - 1, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
    "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232_448, "reservedSharedMemoryPerBlock": 1024,
    "totalGlobalMem": 85_000_000_000, "l2CacheSize": 52_428_800, "smClockRateKHz": 1_980_000,
    "memClockRateKHz": 2_619_000, "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
}  # fmt: skip
ABSENT = 100  # CUDA_ERROR_NO_DEVICE
DRIVER = """int cuInit(unsigned flags) { return 100; }
int cuDriverGetVersion(int* version) { *version = 13000; return 0; }
extern void* dlsym(void* handle, const char* name);
int cuGetProcAddress_v2(const char* name, void** found, int version, unsigned long long flags, int* status) {
    *found = dlsym(0, name);
    if (status) *status = *found ? 0 : 1;
    return *found ? 0 : 500;
}
int cuGetProcAddress(const char* name, void** found, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, found, version, flags, 0);
}
int cuLibraryLoadData(void** library) { *library = library; return 0; }
int cuLibraryGetKernel(void** kernel) { *kernel = kernel; return 0; }
int cuKernelGetFunction(void** function) { *function = function; return 0; }
int cuKernelSetAttribute(void) { return 0; }
int cuFuncSetAttribute(void) { return 0; }
"""
OWN = set(re.findall(r"^int (cu\w+)", DRIVER, re.MULTILINE))
NAMES = re.compile(rb"\0(cu[A-Z][a-z]+[A-Z]\w*)(?=\0)")


def libraries(site: Path, scratch: Path) -> Any:
    """cuDNN's frontend from a folder of packages, with the libraries that it asks for by name loaded before."""
    cudnn = site / "nvidia/cudnn/lib"
    if not cudnn.is_dir() or not (site / "cudnn").is_dir():
        raise SystemExit(f"{site} holds no nvidia-cudnn-cu13 and nvidia-cudnn-frontend; see the head of this file")
    loaded = [*sorted((site / "nvidia/cu13/lib").glob("lib*.so.*[0-9]")), driver(cudnn, scratch)]
    waiting = [path for path in loaded if "alt" not in path.name]
    for _ in range(len(waiting)):  # some need others first
        waiting = [path for path in waiting if not _loads(path)]
    os.environ["LD_LIBRARY_PATH"] = str(cudnn)  # where the frontend looks first
    sys.path.append(str(site))
    return importlib.import_module("cudnn")


def _loads(path: Path) -> bool:
    try:
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def driver(cudnn: Path, folder: Path) -> Path:
    """A library named as the driver's, with every function that cuDNN's libraries name."""
    names = {name.decode() for path in cudnn.glob("*.so.9") for name in NAMES.findall(path.read_bytes())}
    text = DRIVER + "".join(f"int {name}(void) {{ return {ABSENT}; }}\n" for name in sorted(names - OWN))
    (folder / "driver.c").write_text(f'extern "C" {{\n{text}}}\n')
    made = folder / "libcuda.so.1"
    command = [*find_compiler(), "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([*command, "-x", "c++", str(folder / "driver.c"), "-o", str(made)], check=True, capture_output=True)
    return made


def figures(cudnn: Any, name: str, shape: PlanShape) -> Iterator[Figure]:
    """What the plan for one shape is, on the H100."""
    chip = cudnn.create_device_properties(json.dumps(H100))
    began = time.perf_counter()
    graph = planned(cudnn, shape, device_property=chip, sm_version=90)
    yield Figure(f"{name}: plan made in", time.perf_counter() - began, "s")
    yield at_most(f"{name}: workspace", graph.get_workspace_size(), "B", 1 << 20)
    kept = bytes(graph.serialize())
    yield at_least(f"{name}: can be held by a CUDA graph", kept.count(b"SUPPORTS_CUDA_GRAPH_NATIVE_API"), "", 1)
    plan, _ = json.JSONDecoder().raw_decode(kept[kept.index(b'{"cudnnVersion"') :].decode("latin1"))
    kernels = plan["engine"]["payload"]["kernels"]
    yield at_most(f"{name}: kernels", len(kernels), "", 1)
    print(f"{name}: engine {plan['engine']['engineId']}, {kernels[0]['kernelName']}")
    cubin = base64.b64decode(kernels[0]["cubin"])
    (seen,) = inspect(cubin).values()
    yield Figure(f"{name}: registers", seen.registers, "")
    yield at_most(f"{name}: stack and spills", seen.stack + seen.local + seen.spills, "", 0)
    for instruction, count in counted(cubin).items():
        yield at_least(f"{name}: {instruction}", count, "", 1)


def counted(cubin: bytes) -> dict[str, int]:
    """Matrix products of float8 with sums in float32, casts that cut off, and loads by the copy engine."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool("nvdisasm"), "-c", file.name], capture_output=True, text=True, check=True).stdout
    wanted = {
        "QGMMA e4m3": r"\bQGMMA\.\S+\.F32\.E4M3\.E4M3",
        "casts that cut off": r"\bF2FP\.SATFINITE\.E4M3",
        "TMA loads": r"\bUTMALDG",
    }
    return {name: len(re.findall(pattern, text)) for name, pattern in wanted.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="folder of packages that holds nvidia/cudnn and cudnn")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cudnn = libraries(options.site, Path(scratch))
        found = [figure for name, shape in SHAPES.items() for figure in figures(cudnn, name, shape)]
    print_table(found)
    if options.json:
        versions = {"cudnn": cudnn.backend_version_string(), "nvidia-cudnn-frontend": cudnn.__version__}
        write(options.json, found, versions | {"device": "none: an H100 was described", "status": "built, not run"})
    return 0 if all(figure.met is not False for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
