"""What one launch of a kernel is: the same record runs on a GPU (`build`) and, for tests, on the CPU (`host`)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).parent / "cuda"
Argument = ctypes.c_void_p | ctypes.c_int | ctypes.c_longlong | ctypes.c_float

MOST_HELD = 6  # pieces of eight values that one thread keeps in registers


@dataclass(frozen=True, slots=True)
class Kernel:
    """One specialisation of a source: `cuda/<source>.cu`, the entry's name, and the sizes known when it is compiled."""

    source: str
    entry: str
    defines: tuple[tuple[str, int], ...]

    @property
    def path(self) -> Path:
        return SOURCES / f"{self.source}.cu"

    def __str__(self) -> str:
        return f"{self.entry}({', '.join(f'{name}={value}' for name, value in self.defines)})"


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with a grid of blocks (x, y), threads a block, and its arguments in order."""

    kernel: Kernel
    grid: tuple[int, int]
    block: int
    arguments: tuple[Argument, ...]

    def tensors(self) -> list[Tensor]:
        """What the pointers among the arguments point to."""
        return [each.tensor for each in self.arguments if isinstance(each, Pointer) and each.tensor is not None]

    def addresses(self) -> ctypes.Array[ctypes.c_void_p]:
        """Where the arguments lie, as a launch takes them: `void**`. Good for as long as this record lives."""
        return (ctypes.c_void_p * len(self.arguments))(*(ctypes.addressof(value) for value in self.arguments))


class Pointer(ctypes.c_void_p):
    """The address of a tensor's first value, and the tensor, whose bounds a check on the CPU asks for."""

    tensor: Tensor | None


def pointer(tensor: Tensor | None) -> Pointer:
    """Of None the null pointer."""
    made = Pointer(0 if tensor is None else tensor.data_ptr())
    made.tensor = tensor
    return made


def row_threads(width: int) -> int:
    """Threads that hold one row of `width` values: a warp where that is enough, else two, four, … of them."""
    threads = 32
    while -(-width // (8 * threads)) > MOST_HELD and threads < 512:
        threads *= 2
    return threads


def row_kernel(source: str, width: int, **defines: int) -> Kernel:
    """A kernel of `rows.cuh` for rows of `width` values. Raises ValueError on widths that it is not made for."""
    if width % 8 or -(-width // (8 * row_threads(width))) > MOST_HELD:
        raise ValueError(
            f"rows of {width} values must be whole pieces of eight, and at most 512 threads' {MOST_HELD} each"
        )
    sizes = {"ROW_WIDTH": width, "ROW_THREADS": row_threads(width), "FP8": 0, **defines}
    return Kernel(source, source, tuple(sizes.items()))


def row_grid(width: int, rows: int) -> tuple[int, int]:
    """(blocks, threads a block) for `rows` rows: the arithmetic of `rows.cuh`."""
    group = row_threads(width)
    block = max(group, 128)
    return -(-rows // (block // group)), block


def row_stride(name: str, tensor: Tensor, width: int) -> int:
    """Values between one row of `[B, N, width]` and the next, the same all the way. Raises ValueError where rows do
    not lie so, or not at the 16 bytes that the kernels load at once."""
    batch, rows = tensor.shape[:-1]
    stride = tensor.stride(1) if rows > 1 else tensor.stride(0) if batch > 1 else width
    even = batch == 1 or rows == 1 or tensor.stride(0) == rows * stride
    if tensor.shape[-1] != width or tensor.stride(-1) != 1 or not even:
        raise ValueError(
            f"{name} must be rows of {width} values that lie evenly, got {tuple(tensor.shape)} with strides "
            f"{tensor.stride()}"
        )
    aligned(name, tensor, stride)
    return stride


def aligned(name: str, tensor: Tensor, *strides: int) -> None:
    """Raises ValueError where a tensor, or a step of so many of its values, is not on a border of 16 bytes."""
    if tensor.data_ptr() % 16 or any(stride * tensor.element_size() % 16 for stride in strides):
        raise ValueError(f"{name} must begin, and step by {strides} values, at multiples of 16 bytes")


def expect(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless the tensor is contiguous, aligned, and has this type and shape."""
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous():
        raise ValueError(
            f"{name} must be a contiguous {dtype} {shape}, got {tensor.dtype} {tuple(tensor.shape)} "
            f"with strides {tensor.stride()}"
        )
    aligned(name, tensor)
