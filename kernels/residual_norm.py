"""What a sublayer gives, gated and added to the tokens, and the norm that the next one begins with: one pass."""

from __future__ import annotations

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel
from .norm_modulate import FP8, conditions, expect_output


def residual_norm(
    x: Tensor, added: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, *, eps: float, affine: bool = False
) -> Tensor:
    """x += added * gate in place for tokens `[B, N, d]`, then the norm of the new x, returned.

    gate, shift, scale float32 `[B, G, d]`, each row for N / G tokens; gate None: 1. The norm is layer_norm(x) * (1 +
    scale) + shift; `affine`: layer_norm(x) * scale + shift with scale (the weight) and shift (the bias) `[d]`.
    """
    out = torch.empty_like(x)
    if x.is_cuda and build.launched(lambda: plan(x, added, gate, shift, scale, eps, affine, out), x.device):
        return out
    return _reference(x, added, gate, shift, scale, eps, affine).to(x.dtype)


def residual_norm_fp8(
    x: Tensor, added: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, *, eps: float, affine: bool = False
) -> tuple[Tensor, Tensor]:
    """The same with the norm as float8 e4m3 `[B, N, d]` and float32 `[B, N, 1]`."""
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    scales = torch.empty(*x.shape[:-1], 1, dtype=torch.float32, device=x.device)
    if x.is_cuda and build.launched(lambda: plan(x, added, gate, shift, scale, eps, affine, out, scales), x.device):
        return out, scales
    return reference.quantised_rows(_reference(x, added, gate, shift, scale, eps, affine))


def _reference(
    x: Tensor, added: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, eps: float, affine: bool
) -> Tensor:
    x.copy_(reference.added_to(x, added, gate))
    return reference.layer_norm(x, scale, shift, eps) if affine else reference.modulated(x, shift, scale, eps)


def plan(
    x: Tensor,
    added: Tensor,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    eps: float,
    affine: bool,
    out: Tensor,
    scales: Tensor | None = None,
) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    width = x.shape[2]
    for name, tokens in (("x", x), ("added", added)):
        expect(name, tokens, torch.bfloat16, tuple(x.shape))
    stride, gate_stride, group = 0, 0, x.shape[1]
    if gate is not None:
        gate_stride, group = conditions(x, gate=gate)
    if affine:
        for name, part in (("shift", shift), ("scale", scale)):
            expect(name, part, torch.float32, (width,))
    else:
        stride, own = conditions(x, shift=shift, scale=scale)
        if gate is not None and own != group:
            raise ValueError(f"the gate is for {group} tokens each, shift and scale for {own}")
        group = own
    expect_output(x, out, scales)
    rows = x.shape[0] * x.shape[1]
    blocks, block = row_grid(width, rows)
    flags = {"GATED": int(gate is not None), "AFFINE": int(affine), "FP8": int(scales is not None)}
    return Launch(
        row_kernel("residual_norm", width, **flags),
        (blocks, 1),
        block,
        (
            *(pointer(t) for t in (x, added, gate)),
            c_longlong(gate_stride),
            *(pointer(t) for t in (shift, scale)),
            c_longlong(stride),
            c_int(group),
            c_int(rows),
            c_float(eps),
            pointer(out),
            pointer(scales),
        ),
    )
