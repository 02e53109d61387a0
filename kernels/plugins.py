"""The kernels as TensorRT launches them inside an engine: entry, grid, block, and the numbers that it passes.

TensorRT's ahead-of-time plugins call a kernel with the addresses of the inputs, then 32-bit integers, then the
addresses of the outputs, and know no floats. So each source has a second entry in that order (`PLUGIN`), which runs the
same code; floats go as their bits. TensorRT finds a kernel by its name, whatever cubin it came in, so the name tells
the specialisation. Nothing here needs TensorRT: lengths are integers, or its symbolic expressions of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from .launch import Kernel, row_grid, row_kernel, row_threads

PLUGIN_SOURCES = ("norm_modulate", "residual_norm", "qk_norm_rope", "rms_norm", "bias_gelu")


class Length(Protocol):
    """An integer, or TensorRT's expression of one: what kernels are launched by can be worked out from either."""

    def __mul__(self, other: Self, /) -> Self: ...
    def __floordiv__(self, other: Self, /) -> Self: ...


L = TypeVar("L", bound=Length)
Shape = Sequence[L]
CeilDiv = Callable[[L, int], L]


@dataclass(frozen=True, slots=True)
class PluginLaunch(Generic[L]):
    """How TensorRT launches one kernel: between the inputs' and the outputs' addresses go `numbers`."""

    kernel: Kernel
    grid: tuple[L, int]
    block: int
    numbers: tuple[L | int, ...]


def bits(number: float) -> int:
    """A float32 of 0 or more as the integer that has its bits. Raises ValueError on others: TensorRT's integers in
    expressions are signed."""
    (found,) = struct.unpack("<i", struct.pack("<f", number))
    if found < 0:
        raise ValueError(f"a number that a plugin is given must be 0 or more, got {number}")
    return int(found)


def norm_modulate(
    x: Shape[L], parts: Shape[L], width: int, first: int, eps: float, scale: float | None, ceil_div: CeilDiv[L]
) -> PluginLaunch[L]:
    """x `[B, N, width]`, parts float32 `[B, T, P, width]` of which `first` is the shift and the next the scale; the
    norm, in bf16 or as float8 by one `scale`."""
    numbers = (first, parts[2], x[1] // parts[1], x[0] * x[1], bits(eps), bits(_factor(scale)))
    return _rows("norm_modulate", x, width, numbers, ceil_div, FP8=_fp8(scale))


def residual_norm(
    x: Shape[L],
    gates: Shape[L] | None,
    conditions: Shape[L] | None,
    width: int,
    gate: int,
    first: int,
    eps: float,
    scale: float | None,
    ceil_div: CeilDiv[L],
) -> PluginLaunch[L]:
    """x, added `[B, N, width]`, the bias `[width]` of the product that was `added`, gates and conditions as the parts
    above, of which `gate` is the gate; gates None: 1. conditions None: weight and bias of the norm `[width]` in their
    place. The new x, and its norm."""
    told = gates if gates is not None else conditions
    group = x[1] if told is None else x[1] // told[1]
    counts = (0 if gates is None else gates[2], 0 if conditions is None else conditions[2])
    numbers = (gate, counts[0], first, counts[1], group, x[0] * x[1], bits(eps), bits(_factor(scale)))
    flags = {"GATED": int(gates is not None), "AFFINE": int(conditions is None), "FP8": _fp8(scale)}
    return _rows("residual_norm", x, width, numbers, ceil_div, **flags)


def qk_norm_rope(
    qkv: Shape[L], width: int, head: int, eps: float, factor: float, ceil_div: CeilDiv[L]
) -> PluginLaunch[L]:
    """qkv `[B, N, 3 * width]`, its product's bias, two weights `[width]`, cos and sin `[N, head / 2]` to q, k, v `[B,
    H, N, head]`; q times `factor`."""
    numbers = (qkv[1], qkv[0] * qkv[1], bits(eps), bits(factor))
    return _rows("qk_norm_rope", qkv, width, numbers, ceil_div, HEAD_WIDTH=head, KEEP_UNROTATED=0, FP8=0)


def rms_norm(x: Shape[L], width: int, head: int, eps: float, factor: float, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    """x `[B, N, width]`, its product's bias and a weight `[width]`, to `[B, H, N, head]` times `factor`."""
    numbers = (x[1], x[0] * x[1], bits(eps), bits(factor))
    return _rows("rms_norm", x, width, numbers, ceil_div, HEAD_WIDTH=head)


def gelu(x: Shape[L], width: int, scale: float | None, ceil_div: CeilDiv[L]) -> PluginLaunch[L]:
    """tanh-GELU of x `[B, N, width]` and its product's bias, in bf16 or as float8 by one `scale`."""
    numbers = (x[0] * x[1], bits(_factor(scale)))
    return _rows("bias_gelu", x, width, numbers, ceil_div, BIAS=1, FP8=_fp8(scale))


def _rows(
    source: str, x: Shape[L], width: int, numbers: tuple[L | int, ...], ceil_div: CeilDiv[L], **flags: int
) -> PluginLaunch[L]:
    plain = row_kernel(source, width, **flags)
    form = 1 + flags.get("FP8", 0) // 2 + 2 * flags.get("GATED", 0) + 4 * flags.get("AFFINE", 0)
    form += 8 * flags.get("HEAD_WIDTH", 0)
    kernel = Kernel(source, f"{source}_w{width}_f{form}", (*plain.defines, ("PLUGIN", form)))
    _, block = row_grid(width, 1)
    blocks = ceil_div(x[0] * x[1], block // row_threads(width))
    return PluginLaunch(kernel, (blocks, 3 if source == "qk_norm_rope" else 1), block, numbers)


def _fp8(scale: float | None) -> int:
    """As `FP8` of rows.cuh: one scale that is known."""
    return 0 if scale is None else 2


def _factor(scale: float | None) -> float:
    return 0.0 if scale is None else 1.0 / scale
