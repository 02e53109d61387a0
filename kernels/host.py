"""Kernels executed on the CPU from their CUDA sources, for tests and rehearsals: compiled by a C++ compiler with
`cuda/host.cuh` in front, and run by `cuda/host_runtime.cuh`, which makes every thread a fiber.

A `watched` build is compiled with the compiler's thread, alignment and bounds sanitizers, whose calls go to
`cuda/host_memory.cuh`: it finds races, uninitialised shared memory, misaligned access, and access outside the tensors.
`host_check.py` runs it in several orders. No statement about speed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .cubins import cache_key
from .headers import header_folders, headers_hash, own_headers
from .launch import SOURCES, Kernel, Launch

OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-w", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti")
WATCH = ("-fsanitize=thread", "-fsanitize=alignment,bounds,shift,signed-integer-overflow", "-g1", "-gdwarf-4")
LINKED = "-Wl,-z,defs"  # what the runtime lacks, atomics for one, is an error now and not when it is loaded
RUNTIME = "host_runtime.cuh"
REPORT_BYTES = 4096

# What CUDA's headers want of a file that comes with its compilers only; on a CPU the words mean nothing.
HOST_DEFINES = """#pragma once
#define __host__
#define __device__
#define __global__
#define __shared__
#define __constant__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __launch_bounds__(...)
#define CUDARTAPI
#define CUDARTAPI_CDECL
"""
# The two pieces of C++'s library that those headers use, for zig, which would compile its whole library first (100 s).
UTILITY = """#pragma once
namespace std {
template <class T> struct plain { using type = T; };
template <class T> struct plain<T&> { using type = T; };
template <class T> struct plain<T&&> { using type = T; };
template <class T> constexpr typename plain<T>::type&& move(T&& t) noexcept {
    return static_cast<typename plain<T>::type&&>(t);
}
}  // namespace std
"""
CSTRING = "#pragma once\n#include <string.h>\nnamespace std { using ::memcpy; using ::memset; }\n"


class NoCompilerError(RuntimeError):
    """This machine has no C++ compiler that the host build could use."""


def find_compiler() -> tuple[str, ...]:
    """The command of a C++ compiler: $CXX, g++, clang++, c++, or zig's from the wheel `ziglang`. Raises
    NoCompilerError."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    for name in filter(None, names):
        if path := shutil.which(name):
            return (path,)
    if importlib.util.find_spec("ziglang") is not None:
        target = ("-target", f"{platform.machine()}-linux-gnu") if sys.platform == "linux" else ()
        return (sys.executable, "-m", "ziglang", "cc", "-x", "c++", "-fno-sanitize=all", *target)
    raise NoCompilerError("no C++ compiler: install g++, or run scripts/compiler.sh, which installs the wheel ziglang")


class KernelFault(RuntimeError):
    """A kernel did what a GPU would refuse, or answer differently from run to run; the message names it."""


class Region(ctypes.Structure):
    """One allocation that a launch may reach; see host.cuh."""

    _fields_ = (("begin", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("allowed", ctypes.c_void_p))


class Run(ctypes.Structure):
    """How a launch is run; see host.cuh."""

    _fields_ = (
        ("grid_x", ctypes.c_int), ("grid_y", ctypes.c_int), ("block", ctypes.c_int), ("order", ctypes.c_uint),
        ("regions", ctypes.c_int), ("region", ctypes.c_void_p), ("report", ctypes.c_void_p),
        ("report_bytes", ctypes.c_int),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostKernel:
    """A kernel as a shared library of this machine."""

    library: Path

    def __call__(self, launch: Launch, order: int = 0, regions: Sequence[Region] = ()) -> str:
        """Run a launch; empty, or what was found, a line each. `order` as in host.cuh: 0 forward, 1 backward, else the
        seed of a random one."""
        report = ctypes.create_string_buffer(REPORT_BYTES)
        reached = (Region * max(len(regions), 1))(*regions)
        how = Run(
            *launch.grid, launch.block, order, len(regions), ctypes.addressof(reached), ctypes.addressof(report),
            REPORT_BYTES,
        )  # fmt: skip
        if _loaded(self.library).run(ctypes.byref(how), launch.addresses()) == 0:
            return ""
        return report.value.decode(errors="replace").strip()


def program(kernel: Kernel) -> str:
    """The C++ source: the shim, the kernel's sizes, its own source, and a plain C function that launches it. Names of a
    namespace without a name are this file's own, and so its shared memory may lie in a section."""
    return "\n".join(
        [
            '#include "host.cuh"',  # first, where it may be precompiled
            *(f"#define {name} {value}" for name, value in kernel.defines),
            "namespace {",
            f'#include "{kernel.path.name}"',
            "}",
            'extern "C" int run(const host::Run* how, void** arguments) {',
            f"    return host::launch({kernel.entry}, how, arguments);",
            "}",
        ]
    )


def build(kernel: Kernel, folder: Path, compiler: tuple[str, ...] | None = None, *, watched: bool = False) -> Path:
    """The kernel as a shared library in `folder`, made anew unless it is there for this very source. Raises
    NoCompilerError, or RuntimeError with the compiler's words."""
    command = compiler or find_compiler()
    text, options = program(kernel), (*OPTIONS, *WATCH) if watched else OPTIONS
    key = _key(text, kernel.path.read_text(), *own_headers(), headers_hash(), *command, *options)
    library = folder / f"{kernel.entry}-{key}.so"
    if library.exists():
        return library
    shim = _shim(folder, command, options)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source, made, linked = (Path(scratch) / name for name in ("kernel.cpp", "kernel.o", "kernel.so"))
        source.write_text(text)
        folders = [shim, kernel.path.parent, SOURCES]
        _compile((*command, *options), ["-c", str(source), "-o", str(made)], folders, str(kernel))
        # without the sanitizers' options, or their libraries would come along
        _compile(
            _linker(command),
            ["-shared", LINKED, str(made), str(shim / "runtime.o"), "-o", str(linked)],
            [],
            str(kernel),
        )
        linked.replace(library)
    return library


def _linker(command: tuple[str, ...]) -> tuple[str, ...]:
    """The compiler's command for files that are compiled already."""
    at = command.index("-x") if "-x" in command else None
    return command if at is None else (*command[:at], *command[at + 2 :])


def _shim(folder: Path, command: tuple[str, ...], options: tuple[str, ...]) -> Path:
    """A folder with the runtime and the headers that CUDA's want; g++ precompiles: a kernel then takes 0.2 s, not 1."""
    texts = {"host.cuh": (SOURCES / "host.cuh").read_text(), "crt/host_defines.h": HOST_DEFINES}
    if "ziglang" in command:
        texts |= {"utility": UTILITY, "cstring": CSTRING}
    ready = folder / f"shim-{_key(*texts.values(), *own_headers(), headers_hash(), *command, *options)}"
    if ready.exists():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "shim"
        for name, text in texts.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text)
        runtime = ["-c", "-x", "c++", str(SOURCES / RUNTIME), "-o", str(made / "runtime.o")]
        _compile((*command, *OPTIONS), runtime, [made, SOURCES], "the runtime")
        if Path(command[0]).name == "g++":
            header = str(made / "host.cuh")
            _compile((*command, *options), ["-x", "c++-header", header, "-o", f"{header}.gch"], [made], "the shim")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(ready)
    return ready


def _compile(command: tuple[str, ...], files: list[str], folders: list[Path], what: str) -> None:
    includes = [f"-I{place}" for place in (*folders, *header_folders())]
    done = subprocess.run([*command, *includes, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} does not compile for the CPU:\n{done.stderr[-2000:]}")


def _key(*parts: str) -> str:
    return cache_key(*parts)[:24]


@lru_cache(maxsize=128)
def _loaded(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


def run(launch: Launch, folder: Path, compiler: tuple[str, ...] | None = None) -> None:
    """Execute a launch whose pointers are to CPU memory, once and unwatched. Raises KernelFault where a block's threads
    wait for ever."""
    if wrong := HostKernel(build(launch.kernel, folder, compiler))(launch):
        raise KernelFault(f"{launch.kernel}: {wrong}")
