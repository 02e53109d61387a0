"""LayerNorm and the scale and shift of each latent frame, in bf16 or as float8 rows for the next matrix product."""

from __future__ import annotations

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel, row_stride

FP8 = torch.float8_e4m3fn


def norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, *, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift for tokens `[B, N, d]`; shift and scale float32 `[B, G, d]`, each row for N /
    G tokens. They may be views of the six parts `[B, G, 6, d]`."""
    out = torch.empty_like(x)
    if x.is_cuda and build.launched(lambda: plan(x, shift, scale, eps, out), x.device):
        return out
    return reference.modulated(x, shift, scale, eps).to(x.dtype)


def norm_modulate_fp8(x: Tensor, shift: Tensor, scale: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    """The same as float8 e4m3 `[B, N, d]` and float32 `[B, N, 1]`: the value is about byte * scale of its row."""
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty(*x.shape[:-1], 1, dtype=torch.float32, device=x.device)
    if x.is_cuda and build.launched(lambda: plan(x, shift, scale, eps, out, scales), x.device):
        return out, scales
    return reference.quantised_rows(reference.modulated(x, shift, scale, eps))


def plan(x: Tensor, shift: Tensor, scale: Tensor, eps: float, out: Tensor, scales: Tensor | None = None) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    stride, group = conditions(x, shift=shift, scale=scale)
    expect_output(x, out, scales)
    rows = x.shape[0] * x.shape[1]
    blocks, block = row_grid(x.shape[2], rows)
    return Launch(
        row_kernel("norm_modulate", x.shape[2], FP8=int(scales is not None)),
        (blocks, 1),
        block,
        (
            *(pointer(t) for t in (x, shift, scale)),
            c_longlong(stride),
            c_int(group),
            c_int(rows),
            c_float(eps),
            pointer(out),
            pointer(scales),
        ),
    )


def conditions(x: Tensor, **parts: Tensor) -> tuple[int, int]:
    """The step between rows of conditions `[B, G, d]` and how many tokens each is for. Raises ValueError where they do
    not fit tokens x `[B, N, d]` or each other."""
    batch, tokens, width = x.shape
    expect("x", x, torch.bfloat16, (batch, tokens, width))
    strides, groups = set(), set()
    for name, part in parts.items():
        if part.dtype != torch.float32 or part.dim() != 3 or part.shape[0] != batch or tokens % part.shape[1]:
            raise ValueError(f"{name} must be float32 [{batch}, G, {width}] with G dividing {tokens}, got {part.shape}")
        strides.add(row_stride(name, part, width))
        groups.add(part.shape[1])
    if len(strides) != 1 or len(groups) != 1:
        raise ValueError(f"{', '.join(parts)} must have one shape and step, got {groups} rows and {strides}")
    return strides.pop(), tokens // groups.pop()


def expect_output(x: Tensor, out: Tensor, scales: Tensor | None) -> None:
    """Raises ValueError unless `out` is as x, or with `scales` the float8 rows of x."""
    expect("out", out, torch.bfloat16 if scales is None else FP8, tuple(x.shape))
    if scales is not None:
        expect("scales", scales, torch.float32, (*x.shape[:-1], 1))
