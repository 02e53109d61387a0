"""A launch executed on the CPU in several orders of its threads and blocks, every access to memory watched.

What it finds, and names: two threads that reach the same byte with no barrier between them, one of them writing;
shared memory that is read before it is written; blocks that depend on each other; shuffles and barriers that not all
threads of a warp or block reach, or reach at different lines; addresses that are no multiple of what is read or written
there; access outside the launch's tensors, also into the gaps of strided views; indices beyond an array; results that
depend on the order. What it cannot find: what only a GPU's own compiler does, and speed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .host import HostKernel, KernelFault, Region, build
from .launch import Launch

ORDERS = (0, 1, 2, 3)  # forward, backward, and two random ones; see host.cuh
PLACE = re.compile(r"\(at 0x([0-9a-f]+)\)")


def check(
    launches: Sequence[Launch],
    folder: Path,
    compiler: tuple[str, ...] | None = None,
    *,
    orders: Sequence[int] = ORDERS,
) -> None:
    """Execute launches, one after the other, in every order, and leave their results in their tensors, which are CPU
    tensors. Raises KernelFault where something is found or a result depends on the order; NoCompilerError."""
    reached = _allocations(launches)
    before = {begin: bytes_.clone() for begin, (bytes_, _) in reached.items()}
    first: dict[int, Tensor] = {}
    for order in orders:
        for begin, (bytes_, _) in reached.items():
            bytes_.copy_(before[begin])
        for launch in launches:
            _checked(launch, folder, compiler, order, reached)
        for begin, (bytes_, _) in reached.items():
            if begin not in first:
                first[begin] = bytes_.clone()
            elif not torch.equal(bytes_, first[begin]):
                names = " then ".join(str(launch.kernel) for launch in launches)
                raise KernelFault(f"{names}: the result depends on the order in which threads run (order {order})")


def _checked(
    launch: Launch,
    folder: Path,
    compiler: tuple[str, ...] | None,
    order: int,
    reached: dict[int, tuple[Tensor, Tensor]],
) -> None:
    library = build(launch.kernel, folder, compiler, watched=True)
    own = {tensor.untyped_storage().data_ptr() for tensor in launch.tensors()}
    allowed = {begin: mask for begin, (_, mask) in _allocations([launch]).items()}
    regions = [Region(begin, reached[begin][0].numel(), allowed[begin].data_ptr()) for begin in sorted(own)]
    if wrong := HostKernel(library)(launch, order, regions):
        raise KernelFault(f"{launch.kernel}: {_placed(wrong, library)}")


def _allocations(launches: Iterable[Launch]) -> dict[int, tuple[Tensor, Tensor]]:
    """Address to all bytes of an allocation, and which of them (uint8, 1) belong to one of the launches' tensors."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for tensor in (tensor for launch in launches for tensor in launch.tensors()):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in found:
            bytes_ = torch.empty(0, dtype=torch.uint8).set_(storage)
            found[storage.data_ptr()] = bytes_, torch.zeros_like(bytes_)
        width = tensor.element_size()
        shape, strides = (*tensor.shape, width), (*(stride * width for stride in tensor.stride()), 1)
        found[storage.data_ptr()][1].as_strided(shape, strides, tensor.storage_offset() * width).fill_(1)
    return found


def _placed(report: str, library: Path) -> str:
    """Addresses of the library as file and line, where `addr2line` is installed."""
    tool = shutil.which("addr2line")
    if tool is None:
        return report
    for place in set(PLACE.findall(report)):
        told = subprocess.run([tool, "-s", "-e", str(library), place], capture_output=True, text=True, check=False)
        line = told.stdout.split(" ")[0].strip()
        if ":" in line and not line.startswith("?"):
            report = report.replace(f"(at 0x{place})", f"({line})")
    return report
