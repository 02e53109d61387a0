"""Pictures to I420 for the video encoder, on the device: a tenth of the bytes of float pictures go to the host."""

from __future__ import annotations

from ctypes import c_int

import torch
from torch import Tensor

from . import build, reference
from .launch import Kernel, Launch, aligned, expect, pointer

COLUMNS = 16  # that one thread converts


def i420(rgb: Tensor, out: Tensor | None = None) -> Tensor:
    """uint8 `[F, H, W, 3]`, or float32 or bf16 `[3, F, H, W]` in [-1, 1] (values outside are clipped), to uint8
    `[F, H * 3 / 2, W]`, into `out` where it is given. BT.601 limited range, bit for bit OpenCV's RGB2YUV_I420.

    Raises ValueError on an odd height or width.
    """
    frames, rows, columns = _size(rgb)
    if rows % 2 or columns % 2:
        raise ValueError(f"I420 needs even sides, got {rows} x {columns}")
    if out is None:
        out = torch.empty(frames, rows * 3 // 2, columns, dtype=torch.uint8, device=rgb.device)
    written = out
    if rgb.is_cuda and build.launched(lambda: plan(rgb, written), rgb.device):
        return out
    return out.copy_(reference.i420(rgb))


def _size(rgb: Tensor) -> tuple[int, int, int]:
    """Frames, rows and columns. Raises ValueError on another form."""
    shape = tuple(rgb.shape)
    if rgb.dtype == torch.uint8 and rgb.dim() == 4 and shape[3] == 3:
        return shape[0], shape[1], shape[2]
    if rgb.is_floating_point() and rgb.dim() == 4 and shape[0] == 3:
        return shape[1], shape[2], shape[3]
    raise ValueError(f"pictures are uint8 [F, H, W, 3] or floats [3, F, H, W], got {rgb.dtype} {shape}")


def plan(rgb: Tensor, out: Tensor) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    frames, rows, columns = _size(rgb)
    if rgb.dtype not in (torch.uint8, torch.float32, torch.bfloat16) or columns % COLUMNS or rows % 2:
        raise ValueError(f"widths are multiples of {COLUMNS}, of uint8, float32 or bfloat16; got {columns} {rgb.dtype}")
    if not rgb.is_contiguous():
        raise ValueError("pictures must be contiguous")
    aligned("rgb", rgb)
    expect("out", out, torch.uint8, (frames, rows * 3 // 2, columns))
    flags = (("INPUT_UINT8", int(rgb.dtype == torch.uint8)), ("INPUT_BF16", int(rgb.dtype == torch.bfloat16)))
    grid = (-(-(columns // COLUMNS * (rows // 2)) // 128), frames)
    arguments = (pointer(rgb), c_int(frames), c_int(rows), c_int(columns), pointer(out))
    return Launch(Kernel("i420", "i420", flags), grid, 128, arguments)
