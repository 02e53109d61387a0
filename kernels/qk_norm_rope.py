"""Queries and keys normalised over the whole width and rotated, keys and values written into the ring: one pass."""

from __future__ import annotations

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Launch, expect, pointer, row_grid, row_kernel, row_stride
from .norm_modulate import FP8

Scales = tuple[Tensor, Tensor, Tensor]


def qk_norm_rope(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    slots: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    *,
    eps: float,
    unrotated: Tensor | None = None,
    scales: Scales | None = None,
) -> Tensor:
    """The rotated queries `[B, N, H, d]` of projections q, k, v `[B, N, H * d]`, which may be views of one product
    `[B, N, 3 * H * d]`.

    Writes the rotated keys and the values into `k_ring` and `v_ring`, `[B, S, H, d]`: the tokens fall into F equal runs
    (latent frames, or one run), and run f goes to the ring's rows from `slots[f]` on, int64 `[F]`, read on the device.
    Weights float32 `[H * d]`; cos and sin float32 `[N, d / 2]`. `unrotated` `[B, N, H, d]` receives the normalised keys
    before rotation. The kernel writes nothing outside the ring; the twin raises IndexError there.

    `scales`, of queries, keys and values, each float32 `[1]` and read on the device: the queries and the rings are
    float8 e4m3, value = byte * scale.
    """
    out = torch.empty(q.shape[0], q.shape[1], *k_ring.shape[2:], dtype=FP8 if scales else q.dtype, device=q.device)
    arguments = (q, k, v, q_weight, k_weight, cos, sin, slots, k_ring, v_ring)
    if q.is_cuda and build.launched(lambda: plan(*arguments, eps, out, unrotated, scales), q.device):
        return out
    return reference.qk_norm_rope(*arguments, eps, unrotated, scales)


def plan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    slots: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    eps: float,
    out: Tensor,
    unrotated: Tensor | None = None,
    scales: Scales | None = None,
) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    batch, tokens, width = q.shape
    ring, heads, head = k_ring.shape[1:]
    strides = {row_stride(name, x, width) for name, x in (("q", q), ("k", k), ("v", v))}
    if len(strides) != 1 or {t.dtype for t in (q, k, v)} != {torch.bfloat16} or heads * head != width:
        raise ValueError(f"q, k, v must be bfloat16, of one width and stride; got {strides} and {width}")
    if slots.dtype != torch.int64 or slots.dim() != 1 or tokens % slots.shape[0] or not slots.is_contiguous():
        raise ValueError(f"slots must be int64 [F] with F dividing {tokens}, got {slots.dtype} {tuple(slots.shape)}")
    if k.shape != q.shape or v.shape != q.shape or k_ring.shape != v_ring.shape or k_ring.shape[0] != batch:
        raise ValueError(f"q, k, v {tuple(q.shape)} do not go with rings of {tuple(k_ring.shape)}")
    ring_strides = {row_stride(name, r.flatten(2), width) for name, r in (("k_ring", k_ring), ("v_ring", v_ring))}
    if ring_strides != {width} or k_ring.stride(0) != v_ring.stride(0):
        raise ValueError(f"the rings' rows must follow each other, got steps of {ring_strides}")
    for name, table in (("cos", cos), ("sin", sin)):
        expect(name, table, torch.float32, (tokens, head // 2))
    for name, weight in (("q_weight", q_weight), ("k_weight", k_weight)):
        expect(name, weight, torch.float32, (width,))
    stored = torch.bfloat16 if scales is None else FP8
    if {k_ring.dtype, v_ring.dtype} != {stored}:
        raise ValueError(f"the rings must be {stored}, got {k_ring.dtype} and {v_ring.dtype}")
    expect("out", out, stored, (batch, tokens, heads, head))
    if unrotated is not None:
        expect("unrotated", unrotated, torch.bfloat16, (batch, tokens, heads, head))
    for scale in scales or ():
        if scale.dtype != torch.float32 or scale.shape != (1,):
            raise ValueError(f"a scale must be float32 [1], got {scale.dtype} {tuple(scale.shape)}")
    rows = batch * tokens
    blocks, block = row_grid(width, rows)
    return Launch(
        row_kernel(
            "qk_norm_rope",
            width,
            FP8=int(scales is not None),
            HEAD_WIDTH=head,
            KEEP_UNROTATED=int(unrotated is not None),
        ),
        (blocks, 3),
        block,
        (
            *(pointer(t) for t in (q, k, v)),
            c_longlong(strides.pop()),
            *(pointer(t) for t in (q_weight, k_weight, cos, sin, slots)),
            c_int(tokens // slots.shape[0]),
            c_int(tokens),
            c_int(rows),
            c_float(eps),
            *(pointer(t) for t in (out, k_ring, v_ring)),
            c_longlong(ring),
            c_longlong(k_ring.stride(0)),
            pointer(unrotated),
            *(pointer(scale) for scale in scales or (None, None, None)),
        ),
    )
