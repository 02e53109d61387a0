"""The feed-forward's activation: tanh-GELU of a matrix product and its bias, in bf16 or as float8 rows."""

from __future__ import annotations

from ctypes import c_int

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel
from .norm_modulate import FP8, expect_output


def bias_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """gelu_tanh(x + bias) for `[B, N, d]`; bias `[d]` as x, None where the product has added it."""
    out = torch.empty_like(x)
    if x.is_cuda and build.launched(lambda: plan(x, bias, out), x.device):
        return out
    return reference.bias_gelu(x, bias).to(x.dtype)


def bias_gelu_fp8(x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same as float8 e4m3 `[B, N, d]` and float32 `[B, N, 1]`."""
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty(*x.shape[:-1], 1, dtype=torch.float32, device=x.device)
    if x.is_cuda and build.launched(lambda: plan(x, bias, out, scales), x.device):
        return out, scales
    return reference.quantised_rows(reference.bias_gelu(x, bias))


def plan(x: Tensor, bias: Tensor | None, out: Tensor, scales: Tensor | None = None) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    batch, tokens, width = x.shape
    expect("x", x, torch.bfloat16, (batch, tokens, width))
    if bias is not None:
        expect("bias", bias, torch.bfloat16, (width,))
    expect_output(x, out, scales)
    blocks, block = row_grid(width, batch * tokens)
    flags = {"BIAS": int(bias is not None), "FP8": int(scales is not None)}
    arguments = (pointer(x), pointer(bias), c_int(batch * tokens), pointer(out), pointer(scales))
    return Launch(row_kernel("bias_gelu", width, **flags), (blocks, 1), block, arguments)
