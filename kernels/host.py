"""Kernels executed on the CPU from their CUDA sources, for tests and rehearsals: compiled by a C++ compiler with
`cuda/host.cuh` in front, which makes every thread a fiber. Slow, and no statement about races or speed."""

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
from functools import lru_cache
from pathlib import Path

from .cubins import cache_key
from .headers import header_folders, headers_hash, own_headers
from .launch import SOURCES, Kernel, Launch

OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti")

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


def program(kernel: Kernel) -> str:
    """The C++ source: the shim, the kernel's sizes, its own source, and a plain C function that launches it."""
    return "\n".join(
        [
            '#include "host.cuh"',  # first, where it may be precompiled
            *(f"#define {name} {value}" for name, value in kernel.defines),
            f'#include "{kernel.path.name}"',
            'extern "C" int run(void** arguments, int x, int y, int block) {',
            f"    return host::launch({kernel.entry}, arguments, x, y, block);",
            "}",
        ]
    )


def build(kernel: Kernel, folder: Path, compiler: tuple[str, ...] | None = None) -> Path:
    """The kernel as a shared library in `folder`, made anew unless it is there for this very source. Raises
    NoCompilerError, or RuntimeError with the compiler's words."""
    command = compiler or find_compiler()
    text = program(kernel)
    key = _key(text, kernel.path.read_text(), *own_headers(), headers_hash(), *command, *OPTIONS)
    library = folder / f"{kernel.entry}-{key}.so"
    if library.exists():
        return library
    shim = _shim(folder, command)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source, made = Path(scratch) / "kernel.cpp", Path(scratch) / "kernel.so"
        source.write_text(text)
        _compile(command, [str(source), "-o", str(made)], [shim, kernel.path.parent, SOURCES], str(kernel))
        made.replace(library)
    return library


def _shim(folder: Path, command: tuple[str, ...]) -> Path:
    """A folder with the shim and the headers that CUDA's want, by g++ precompiled: a kernel then takes 0.2 s, not 1."""
    texts = {"host.cuh": (SOURCES / "host.cuh").read_text(), "crt/host_defines.h": HOST_DEFINES}
    if "ziglang" in command:
        texts |= {"utility": UTILITY, "cstring": CSTRING}
    ready = folder / f"shim-{_key(*texts.values(), headers_hash(), *command, *OPTIONS)}"
    if ready.exists():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "shim"
        for name, text in texts.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text)
        if Path(command[0]).name == "g++":
            header = str(made / "host.cuh")
            _compile(command, ["-x", "c++-header", header, "-o", f"{header}.gch"], [made], "the shim")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(ready)
    return ready


def _compile(command: tuple[str, ...], files: list[str], folders: list[Path], what: str) -> None:
    includes = [f"-I{place}" for place in (*folders, *header_folders())]
    done = subprocess.run([*command, *OPTIONS, *includes, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} does not compile for the CPU:\n{done.stderr[-2000:]}")


def _key(*parts: str) -> str:
    return cache_key(*parts)[:24]


@lru_cache(maxsize=64)
def _loaded(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


def run(launch: Launch, folder: Path, compiler: tuple[str, ...] | None = None) -> None:
    """Execute a launch whose pointers are to CPU memory. Raises RuntimeError where a block's threads wait for ever."""
    library = _loaded(build(launch.kernel, folder, compiler))
    if library.run(launch.addresses(), *launch.grid, launch.block):
        raise RuntimeError(f"{launch.kernel}: threads of a block wait at barriers that never meet")
