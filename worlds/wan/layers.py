"""What a Wan block is made of: normalisations, rotary positions, embeddings of time and image.

Sums of squares, modulation and rotation are done in float32 whatever the weights are, as diffusers does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THETA = 10000.0


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis: the whole width of a token, before it is split into heads."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """With weight and bias, in float32, back in the type of its input."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift for tokens `[B, N, d]`; shift and scale `[B, G, d]`, one for each N / G."""
    normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps).unflatten(1, (shift.shape[1], -1))
    return (normed * (1 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2).to(x.dtype)


def gated(x: Tensor, added: Tensor, gate: Tensor) -> Tensor:
    """x + added * gate for tokens `[B, N, d]`, gate `[B, G, d]`."""
    part = added.unflatten(1, (gate.shape[1], -1)) * gate[:, :, None]
    return (x.float() + part.flatten(1, 2)).to(x.dtype)


def sinusoid(timestep: Tensor, width: int) -> Tensor:
    """`[..., width]` float32 of timesteps in [0, 1000]: cosines first, then sines."""
    half = width // 2
    exponent = torch.arange(half, device=timestep.device, dtype=torch.float64) / half
    angle = timestep.double()[..., None] * THETA**-exponent
    return torch.cat([angle.cos(), angle.sin()], -1).float()


@dataclass(frozen=True, slots=True)
class Rotation:
    """By how much the heads of some tokens are turned. N tokens, d channels of a head."""

    cos: Tensor  # [N, d / 2] float32
    sin: Tensor


class RotaryPositions:
    """Angles of (frame, row, column): of d / 2 channel pairs a third each for row and column, the rest for the frame.

    Tables are made in float64 for the very frames that are asked for, so a frame's index has no upper bound.
    """

    def __init__(self, head_width: int) -> None:
        side = head_width // 6  # pairs
        self._pairs = (head_width // 2 - 2 * side, side, side)
        self._newest: tuple[tuple[object, ...], Rotation] | None = None

    def at(self, first: int, frames: int, rows: int, columns: int, device: torch.device) -> Rotation:
        """For `frames` frames from index `first` on. All passes over one chunk share one table."""
        key = (first, frames, rows, columns, device)
        if self._newest is None or self._newest[0] != key:
            self._newest = (key, self._made(first, frames, rows, columns, device))
        return self._newest[1]

    def _made(self, first: int, frames: int, rows: int, columns: int, device: torch.device) -> Rotation:
        parts = []
        for axis, (begin, count) in enumerate(((first, frames), (0, rows), (0, columns))):
            pairs = self._pairs[axis]
            frequency = THETA ** -(torch.arange(pairs, device=device, dtype=torch.float64) / pairs)
            index = torch.arange(begin, begin + count, device=device, dtype=torch.float64)
            shape = [1, 1, 1, pairs]
            shape[axis] = count
            parts.append((index[:, None] * frequency).view(shape).expand(frames, rows, columns, pairs))
        angle = torch.cat(parts, -1).flatten(0, 2)  # [frames * rows * columns, d / 2]
        return Rotation(angle.cos().float(), angle.sin().float())


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn `[..., N, H, d]`, pairs of neighbouring channels."""
    cos, sin = rotation.cos[:, None], rotation.sin[:, None]
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


class ImageEmbedding(nn.Module):
    """CLIP's tokens `[B, 257, 1280]` to `[B, 257, dim]`. Its norms have torch's own eps of 1e-5."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim), LayerNorm(dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.proj(tokens)
        return out
