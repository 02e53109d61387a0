"""What every operator means, in plain torch: the twin that each kernel must equal, and what runs where no kernel does.

All arithmetic is float32 and results are rounded once, to the type of the input. That is worlds/wan's arithmetic
(layers.py, attention.py, actions.py, schedule.py, streaming.py); where a module there rounds to bfloat16 in between,
the twin does not. Nothing here waits for the device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_E4M3 = 448.0
LEAST_ROW = 1e-12  # the largest magnitude that a row of zeros is taken to have
# BT.601 limited range in 20-bit fixed point, as OpenCV's RGB2YUV_I420: (red, green, blue, offset)
LUMA = (269484, 528482, 102760, 16)
CHROMA = ((-155188, -305135, 460324, 128), (460324, -385875, -74448, 128))


def quantised_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """float32 `[..., d]` to float8 e4m3 and one float32 scale a row `[..., 1]`: x is about bytes * scale."""
    most = x.abs().amax(-1, keepdim=True).clamp(min=LEAST_ROW)
    return (x * (LARGEST_E4M3 / most)).clamp(-LARGEST_E4M3, LARGEST_E4M3).to(torch.float8_e4m3fn), most / LARGEST_E4M3


def quantised(x: Tensor, scale: Tensor) -> Tensor:
    """Float8 e4m3 of x / scale, with one scale; what is beyond 448 becomes 448: x is about bytes * scale."""
    return (x.float() * (1 / scale)).clamp(-LARGEST_E4M3, LARGEST_E4M3).to(torch.float8_e4m3fn)


def as_bytes(x: Tensor) -> Tensor:
    """Float8 as integers of eight bits, which every operation of torch can move; others as they are."""
    return x.view(torch.uint8) if x.dtype == torch.float8_e4m3fn else x


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last axis."""
    return F.rms_norm(x.float(), weight.shape, weight, eps).to(x.dtype)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """float32 `[B, N, H, d]`, neighbouring channels turned by the angles `[N, d / 2]` of their token."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[:, None], sin[:, None]
    return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)


def ring_rows(slots: Tensor, tokens: int) -> Tensor:
    """The rows of a ring, int64 `[tokens]`, for runs of tokens that begin at `slots` `[F]`."""
    run = torch.arange(tokens // slots.shape[0], device=slots.device)
    return (slots[:, None] + run).flatten()


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
    eps: float,
    unrotated: Tensor | None = None,
    scales: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """See `worldstream.kernels.qk_norm_rope`. Raises IndexError on a place outside the ring."""
    heads = k_ring.shape[2]
    queries, keys = (
        F.rms_norm(x.float(), weight.shape, weight, eps).unflatten(-1, (heads, -1))
        for x, weight in ((q, q_weight), (k, k_weight))
    )
    rows = ring_rows(slots, q.shape[1])
    attended = [rotated(queries, cos, sin), rotated(keys, cos, sin), v.unflatten(-1, (heads, -1))]
    if scales is None:
        attended = [x.to(q.dtype) for x in attended]
    else:
        attended = [quantised(x, scale) for x, scale in zip(attended, scales, strict=True)]
    for ring, new in ((k_ring, attended[1]), (v_ring, attended[2])):
        as_bytes(ring).index_copy_(1, rows, as_bytes(new.to(ring.dtype)))
    if unrotated is not None:
        unrotated.copy_(keys)
    return attended[0]


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """float32 layer_norm(x) * (1 + scale) + shift for `[B, N, d]`; shift and scale `[B, G, d]`, each for N / G rows."""
    normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return (normed * (1 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2)


def added_to(x: Tensor, added: Tensor, gate: Tensor | None) -> Tensor:
    """x + added * gate for `[B, N, d]`, gate `[B, G, d]` float32, None: 1; as x is."""
    if gate is None:
        return (x.float() + added.float()).to(x.dtype)
    part = added.float().unflatten(1, (gate.shape[1], -1)) * gate[:, :, None]
    return (x.float() + part.flatten(1, 2)).to(x.dtype)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """float32 LayerNorm with weight and bias `[d]`."""
    return F.layer_norm(x.float(), x.shape[-1:], weight, bias, eps)


def bias_gelu(x: Tensor, bias: Tensor | None) -> Tensor:
    """float32 tanh-GELU of x + bias."""
    return F.gelu(x.float() if bias is None else x.float() + bias.float(), approximate="tanh")


def unit(x: Tensor, eps: float) -> Tensor:
    """float32 x / rms(x) over the last axis."""
    return x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)


def turned_in_time(x: Tensor, angles: Tensor, positions: Tensor) -> Tensor:
    """float32 `[..., T, H, d]`: the first channels turned by the angles `[P, 2, r / 2]` at positions `[T]`."""
    cos, sin = angles[positions.clamp(min=0).long()].unbind(1)  # [T, r / 2]
    rotated_channels = 2 * cos.shape[-1]
    a, b = x[..., :rotated_channels].unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[:, None], sin[:, None]
    return torch.cat([torch.stack([a * c - b * s, b * c + a * s], -1).flatten(-2), x[..., rotated_channels:]], -1)


def write_keys(k: Tensor, v: Tensor, frame_slots: Tensor, k_ring: Tensor, v_ring: Tensor, eps: float) -> None:
    """Keys, normalised, and values `[P, T, H, d]` into the slots of rings `[P, slots, H, d]`."""
    k_ring.index_copy_(1, frame_slots.long(), unit(k, eps).to(k_ring.dtype))
    v_ring.index_copy_(1, frame_slots.long(), v.to(v_ring.dtype))


def attended_in_time(
    q: Tensor, k_ring: Tensor, v_ring: Tensor, positions: Tensor, query_positions: Tensor, angles: Tensor, eps: float
) -> Tensor:
    """q `[P, L, T, H, d]` attending over the slots of rings `[P, slots, H, d]` that have a position of 0 or more;
    L queries share a ring. float32 of q's shape. What lies in slots without a position does not matter, even NaN."""
    k_ring, v_ring = (r.float().masked_fill((positions < 0)[:, None, None], 0) for r in (k_ring, v_ring))
    queries = turned_in_time(unit(q, eps), angles, query_positions)
    keys = turned_in_time(k_ring, angles, positions)
    scores = torch.einsum("plthd,pshd->plhts", queries, keys) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(positions < 0, float("-inf")).softmax(-1)
    return torch.einsum("plhts,pshd->plthd", weights, v_ring)


def scheduler_step(
    noisy: Tensor, velocity: Tensor, levels: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The clean latents, and those made noisy again; levels float32 `[1]`, or `[2]` with noise."""
    clean = (noisy.double() - levels[0].double() * velocity.double()).to(noisy.dtype)
    if noise is None:
        return clean, None
    return clean, ((1 - levels[1]) * clean.float() + levels[1] * noise.float()).to(noisy.dtype)


def pictures(rgb: Tensor) -> Tensor:
    """`[3, F, H, W]` in [-1, 1], values outside clipped, to uint8 `[F, H, W, 3]`."""
    return (rgb.float() * 127.5 + 127.5).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 3, 0)


def i420(rgb: Tensor) -> Tensor:
    """uint8 `[F, H, W, 3]`, or floats `[3, F, H, W]` in [-1, 1], to uint8 `[F, H * 3 / 2, W]`: BT.601 limited range,
    chroma of the upper left pixel of every two by two."""
    channels = (rgb if rgb.dtype == torch.uint8 else pictures(rgb)).int().unbind(-1)

    def fixed(factors: tuple[int, int, int, int], step: int) -> Tensor:
        red, green, blue = (f * c[:, ::step, ::step] for f, c in zip(factors[:3], channels, strict=True))
        total = red + green + blue
        return ((total + (factors[3] << 20) + (1 << 19)) >> 20).clamp(0, 255).to(torch.uint8)

    planes = [fixed(LUMA, 1), *(fixed(factors, 2) for factors in CHROMA)]
    return torch.cat([plane.flatten(1) for plane in planes], 1).unflatten(1, (-1, rgb_width(rgb)))


def rgb_width(rgb: Tensor) -> int:
    """Columns of pictures in either of the two forms."""
    return rgb.shape[2] if rgb.dtype == torch.uint8 else rgb.shape[3]
