"""Tokens as float8 rows for a matrix product, where no kernel before it could write them so: after an attention."""

from __future__ import annotations

from ctypes import c_int

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel
from .norm_modulate import FP8, expect_output


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """`[B, N, d]` as float8 e4m3 `[B, N, d]` and float32 `[B, N, 1]`: the value is about byte * scale of its row."""
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty(*x.shape[:-1], 1, dtype=torch.float32, device=x.device)
    if x.is_cuda and build.launched(lambda: plan(x, out, scales), x.device):
        return out, scales
    return reference.quantised_rows(x.float())


def plan(x: Tensor, out: Tensor, scales: Tensor) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    batch, tokens, width = x.shape
    expect("x", x, torch.bfloat16, (batch, tokens, width))
    expect_output(x, out, scales)
    blocks, block = row_grid(width, batch * tokens)
    arguments = (pointer(x), c_int(batch * tokens), pointer(out), pointer(scales))
    return Launch(row_kernel("quantise_rows", width, FP8=1), (blocks, 1), block, arguments)
