"""Attention over time alone, of Matrix-Game's action modules: the mouse's, each position for itself, and the
keyboard's, whose keys all positions share. A few frames of queries; at most 16 slots of frames as keys."""

from __future__ import annotations

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Argument, Kernel, Launch, aligned, expect, pointer

MOST_FRAMES, MOST_SLOTS = 4, 16  # queries of so many frames are kept in registers


def time_angles(positions: int, rotated: int, theta: float, device: torch.device | str | None = None) -> Tensor:
    """Cosines and sines float32 `[positions, 2, rotated / 2]`: angle of pair i at position p is p * theta^(-2i/r)."""
    frequency = theta ** (-torch.arange(0, rotated, 2, device=device, dtype=torch.float32) / rotated)
    angle = torch.arange(positions, device=device)[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()], 1)


def mouse_attention(
    qkv: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    frame_slots: Tensor,
    positions: Tensor,
    query_positions: Tensor,
    angles: Tensor,
    *,
    eps: float = 1e-6,
) -> Tensor:
    """`[B, T, S, H * d]` of one product qkv `[B, T, S, 3 * H * d]`, every position attending over time.

    Queries and keys are RMS-normalised by head and the first channels rotated by `angles` (see `time_angles`). The
    chunk's keys, normalised and not rotated, and its values are first written to the rings `[B * S, slots, H, d]` at
    the slots `frame_slots` int32 `[T]`. `positions` int32 `[slots]`: each slot's place in time after that, below 0
    where the slot is not attended to; `query_positions` int32 `[T]`. All three are read on the device; places are
    counted from the oldest kept frame, and lie within `angles`.
    """
    out = torch.empty(*qkv.shape[:3], qkv.shape[3] // 3, dtype=qkv.dtype, device=qkv.device)
    q, k, v = qkv.unflatten(-1, (3, *k_ring.shape[2:])).unbind(3)  # [B, T, S, H, d] each
    times = (frame_slots, positions, query_positions, angles)
    if qkv.is_cuda and build.launched(lambda: plan(q, (k, v), k_ring, v_ring, *times, eps, out), qkv.device):
        return out
    return mouse_reference(qkv, k_ring, v_ring, *times, eps)


def mouse_reference(
    qkv: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    frame_slots: Tensor,
    positions: Tensor,
    query_positions: Tensor,
    angles: Tensor,
    eps: float,
) -> Tensor:
    """`mouse_attention` in plain torch."""
    parts = qkv.unflatten(-1, (3, *k_ring.shape[2:])).transpose(1, 2).flatten(0, 1)  # [B * S, T, 3, H, d]
    q, k, v = parts.unbind(2)
    reference.write_keys(k, v, frame_slots, k_ring, v_ring, eps)
    seen = reference.attended_in_time(q[:, None], k_ring, v_ring, positions, query_positions, angles, eps)
    return seen[:, 0].unflatten(0, (qkv.shape[0], -1)).transpose(1, 2).flatten(3).to(qkv.dtype)


def keyboard_attention(
    q: Tensor,
    kv: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    frame_slots: Tensor,
    positions: Tensor,
    query_positions: Tensor,
    angles: Tensor,
    *,
    eps: float = 1e-6,
) -> Tensor:
    """`[B, T, S, H * d]` of queries `[B, T, S, H * d]` and keys and values kv `[B, T, 2 * H * d]` that all S positions
    share; rings `[B, slots, H, d]`. The rest as in `mouse_attention`."""
    out = torch.empty_like(q)
    heads = k_ring.shape[2:]
    queries = q.unflatten(-1, heads)
    k, v = kv.unflatten(-1, (2, *heads)).unbind(2)  # [B, T, H, d]
    times = (frame_slots, positions, query_positions, angles)

    def launches() -> tuple[Launch, Launch]:
        written = plan_keys(k, v, k_ring, v_ring, frame_slots, eps)
        return written, plan(queries, None, k_ring, v_ring, *times, eps, out)

    if q.is_cuda and build.launched(launches, q.device):
        return out
    return keyboard_reference(q, kv, k_ring, v_ring, *times, eps)


def keyboard_reference(
    q: Tensor,
    kv: Tensor,
    k_ring: Tensor,
    v_ring: Tensor,
    frame_slots: Tensor,
    positions: Tensor,
    query_positions: Tensor,
    angles: Tensor,
    eps: float,
) -> Tensor:
    """`keyboard_attention` in plain torch."""
    heads = k_ring.shape[2:]
    k, v = kv.unflatten(-1, (2, *heads)).unbind(2)
    reference.write_keys(k, v, frame_slots, k_ring, v_ring, eps)
    own = q.unflatten(-1, heads).transpose(1, 2)  # [B, S, T, H, d]
    seen = reference.attended_in_time(own, k_ring, v_ring, positions, query_positions, angles, eps)
    return seen.transpose(1, 2).flatten(3).to(q.dtype)


def plan(
    q: Tensor,
    own: tuple[Tensor, Tensor] | None,
    k_ring: Tensor,
    v_ring: Tensor,
    frame_slots: Tensor,
    positions: Tensor,
    query_positions: Tensor,
    angles: Tensor,
    eps: float,
    out: Tensor,
) -> Launch:
    """The launch over q `[B, T, S, H, d]`; `own` are keys and values of the same strides, for rings of each position.
    Raises ValueError on tensors that the kernel is not made for."""
    batch, frames, places, heads, head = q.shape
    slots, rotated = k_ring.shape[1], 2 * angles.shape[2]
    _expect_rings(k_ring, v_ring, batch * places if own else batch, heads, head)
    strides = q.stride()[:3]
    tensors = (q, *(own or ()))
    if any(t.stride()[:3] != strides or t.stride()[3:] != (head, 1) for t in tensors) or frames > MOST_FRAMES:
        raise ValueError(f"at most {MOST_FRAMES} frames, heads side by side; got {frames} and {q.stride()}")
    if q.dtype != torch.bfloat16:
        raise ValueError(f"queries must be bfloat16, got {q.dtype}")
    for tensor in tensors:
        aligned("queries, keys and values", tensor, *strides)
    _expect_int("frame_slots", frame_slots, frames)
    _expect_int("positions", positions, slots)
    _expect_int("query_positions", query_positions, frames)
    expect("angles", angles, torch.float32, (angles.shape[0], 2, rotated // 2))
    expect("out", out, torch.bfloat16, (batch, frames, places, heads * head))
    k, v = own or (None, None)
    items = 128 * 8 // head
    return Launch(
        _kernel("action_attention", frames, heads, head, rotated, own is not None),
        (-(-batch * places * heads // items), 1),
        128,
        (
            *(pointer(t) for t in (q, k, v)),
            *(c_longlong(stride) for stride in strides),
            *(c_int(count) for count in (batch, places)),
            pointer(frame_slots),
            c_int(slots),
            *(pointer(t) for t in (positions, query_positions, angles)),
            c_float(eps),
            *(pointer(t) for t in (k_ring, v_ring, out)),
        ),
    )


def plan_keys(k: Tensor, v: Tensor, k_ring: Tensor, v_ring: Tensor, frame_slots: Tensor, eps: float) -> Launch:
    """The launch that writes shared keys and values `[B, T, H, d]` into rings `[B, slots, H, d]`. Raises ValueError."""
    batch, frames, heads, head = k.shape
    _expect_rings(k_ring, v_ring, batch, heads, head)
    if k.stride() != v.stride() or k.stride()[2:] != (head, 1) or k.dtype != torch.bfloat16:
        raise ValueError(f"keys and values must be bfloat16 and lie alike, got {k.stride()} and {v.stride()}")
    for tensor in (k, v):
        aligned("keys and values", tensor, *k.stride()[:2])
    _expect_int("frame_slots", frame_slots, frames)
    items = 128 * 8 // head
    arguments: tuple[Argument, ...] = (
        *(pointer(t) for t in (k, v)),
        *(c_longlong(stride) for stride in k.stride()[:2]),
        c_int(batch),
        pointer(frame_slots),
        c_int(k_ring.shape[1]),
        c_float(eps),
        *(pointer(t) for t in (k_ring, v_ring)),
    )
    kernel = _kernel("write_keys", frames, heads, head, 8, False)
    return Launch(kernel, (-(-batch * frames * heads // items), 1), 128, arguments)


def _kernel(entry: str, frames: int, heads: int, head: int, rotated: int, own: bool) -> Kernel:
    if head % 8 or 32 % (head // 8) or rotated % 8 or rotated > head:
        raise ValueError(f"heads of {head} channels, {rotated} of them rotated, do not fall into pieces of eight")
    sizes = {"FRAMES": frames, "HEADS": heads, "HEAD_WIDTH": head, "ROTATED": rotated, "OWN_KEYS": int(own)}
    return Kernel("action_attention", entry, tuple(sizes.items()))


def _expect_rings(k_ring: Tensor, v_ring: Tensor, owners: int, heads: int, head: int) -> None:
    for name, ring in (("k_ring", k_ring), ("v_ring", v_ring)):
        expect(name, ring, torch.bfloat16, (owners, k_ring.shape[1], heads, head))
    if k_ring.shape[1] > MOST_SLOTS:
        raise ValueError(f"at most {MOST_SLOTS} slots, got {k_ring.shape[1]}")


def _expect_int(name: str, tensor: Tensor, count: int) -> None:
    if tensor.dtype != torch.int32 or tensor.shape != (count,) or not tensor.is_contiguous():
        raise ValueError(f"{name} must be int32 [{count}], got {tensor.dtype} {tuple(tensor.shape)}")
