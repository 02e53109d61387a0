"""x / rms(x) * weight over the whole width of a token: queries of a cross-attention."""

from __future__ import annotations

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel, row_stride


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """Tokens `[B, N, d]`, also a view of a wider product, to a contiguous tensor; weight float32 `[d]`."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.is_cuda and build.launched(lambda: plan(x, weight, eps, out), x.device):
        return out
    return reference.rms_norm(x, weight, eps)


def plan(x: Tensor, weight: Tensor, eps: float, out: Tensor) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    batch, tokens, width = x.shape
    if x.dtype != torch.bfloat16:
        raise ValueError(f"x must be bfloat16, got {x.dtype}")
    stride = row_stride("x", x, width)
    expect("weight", weight, torch.float32, (width,))
    expect("out", out, torch.bfloat16, (batch, tokens, width))
    blocks, block = row_grid(width, batch * tokens)
    arguments = (pointer(x), c_longlong(stride), pointer(weight), c_int(batch * tokens), c_float(eps))
    return Launch(row_kernel("rms_norm", width), (blocks, 1), block, (*arguments, pointer(out)))
