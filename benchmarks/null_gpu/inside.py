"""What runs beneath `run.py`, with the stand-in's libraries loaded: a program of ours, or the count of every case."""

from __future__ import annotations

import ctypes
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import benchmarks.operator_cases
from worldstream.kernels import build, verification
from worldstream.kernels.launch import Launch

ON_DEVICE = 1
FIELDS = (
    "launches", "enqueued", "own", "products", "convolutions", "replays", "nodes", "captures", "broken_captures",
    "copies_in", "bytes_in", "copies_out", "bytes_out", "copies_inside", "bytes_inside", "pageable", "memsets", "waits",
    "queries", "mallocs", "frees", "pins", "held", "peak", "pinned", "misuses",
)  # fmt: skip  # `struct counts` of null_gpu.h


class _Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in FIELDS]


class NullGpu:
    """The stand-in that is loaded in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcudart.so.13")
        self._library.null_misuse_line.restype = ctypes.c_char_p
        self._library.null_launched.restype = ctypes.c_char_p
        self._counts = _Counts.in_dll(self._library, "null_counts")

    def counts(self) -> dict[str, int]:
        """Of everything so far."""
        return {name: getattr(self._counts, name) for name in FIELDS}

    def misuses(self) -> list[str]:
        """What CUDA would not have allowed, one line each; the newest 512."""
        most = min(self._counts.misuses, 512)
        return [self._library.null_misuse_line(i).decode() for i in range(most)]

    def forget(self) -> None:
        """All misuses so far were meant."""
        self._counts.misuses = 0

    def kernels(self) -> dict[str, int]:
        """How often each kernel of torch was launched or recorded, by its mangled name."""
        at, times, found = ctypes.c_int(0), ctypes.c_uint64(0), dict[str, int]()
        while name := self._library.null_launched(ctypes.byref(at), ctypes.byref(times)):
            found[name.decode()] = found.get(name.decode(), 0) + times.value
        return found

    def misuse(self, line: str) -> None:
        """One line more."""
        self._library.null_misuse(b"%s", line.encode())

    def on_device(self, address: int) -> bool:
        found: int = self._library.null_find(ctypes.c_void_p(address), None, None)
        return found == ON_DEVICE


def watched(null: NullGpu, launch: Callable[..., None]) -> Callable[..., None]:
    """A launch of our own kernels, all of whose pointers have to lie on the device."""

    def checked(self: Any, handle: Any, given: Launch, stream: int) -> None:
        for i, argument in enumerate(given.arguments):
            if isinstance(argument, ctypes.c_void_p) and argument.value and not null.on_device(argument.value):
                null.misuse(f"{given.kernel}: argument {i} is not on the device")
        launch(self, handle, given, stream)

    return checked


def main() -> int:
    null = NullGpu()
    build.CudaDevice.launch = watched(null, build.CudaDevice.launch)  # type: ignore[method-assign]
    verification.keep = lambda *_, **__: None  # nothing has been verified
    if not os.environ.get("NULL_GPU_COMPARE"):
        benchmarks.operator_cases.worst_difference = lambda *_: 0.0
    status = 0
    try:
        if sys.argv[1:2] == ["-m"]:
            sys.argv = sys.argv[2:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        elif sys.argv[1:2] == ["-c"]:
            exec(sys.argv[2], {"__name__": "__main__"})  # as an interpreter does
        elif sys.argv[1:]:
            sys.argv = sys.argv[1:]
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            from benchmarks.null_gpu.counted import counted

            counted(null)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    if os.environ.get("NULL_GPU_KERNELS"):
        for name, times in sorted(null.kernels().items(), key=lambda item: -item[1]):
            print(f"{times:8} {name}")
    for line in null.misuses():
        print(f"null GPU: {line}")
    return 3 if null.misuses() else status


if __name__ == "__main__":
    sys.exit(main())
