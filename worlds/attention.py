"""Frame-causal attention with three-axis rotary positions.

Positions are (frame, row, column). Keys are cached before rotation and rotated on use, by their age: a session has no
length limit, because no position ever grows. Plain matrix products: at these sizes they beat fused kernels on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rope_table(frames: int, rows: int, columns: int, head_width: int) -> tuple[Tensor, Tensor]:
    """(cos, sin), each `[frames, rows * columns, head_width / 2]`.

    A quarter of the frequencies turns with the frame, the rest in equal parts with row and column (RoPE, 2104.09864, on
    three axes as in Wan).
    """
    half = head_width // 2
    t_size = half // 4
    y_size = (half - t_size) // 2
    x_size = half - t_size - y_size
    angles = []
    for size, count in ((t_size, frames), (y_size, rows), (x_size, columns)):
        frequencies = 100.0 ** (-torch.arange(size, dtype=torch.float32) / max(size, 1))
        angles.append(torch.arange(count, dtype=torch.float32)[:, None] * frequencies)
    t, y, x = angles
    full = torch.cat(
        [
            t[:, None, None].expand(frames, rows, columns, t_size),
            y[None, :, None].expand(frames, rows, columns, y_size),
            x[None, None, :].expand(frames, rows, columns, x_size),
        ],
        -1,
    ).reshape(frames, rows * columns, half)
    return full.cos(), full.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate `[..., N, d]` by tables `[N, d/2]`, halves paired."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q kT / sqrt(d) + bias) v for `[B, H, N, d]`; `bias` broadcasts over `[Nq, Nk]`, -inf hides."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1) @ v


def attend_cached(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention to the cache (`keys`, `values` `[B, H, M, d]`, hidden where `bias` `[M]` is -inf) and to `k`, `v`.

    The same sums as `attend` over both joined, without copying the cache: at one frame's size the copies cost as much
    as the products.
    """
    q = q * q.shape[-1] ** -0.5
    scores = torch.cat([q @ keys.transpose(-1, -2) + bias, q @ k.transpose(-1, -2)], -1)
    old, new = scores.softmax(-1).split([keys.shape[2], k.shape[2]], -1)
    return old @ values + new @ v


def causal_bias(frames: int, tokens: int, window: int, device: torch.device | None = None) -> Tensor:
    """`[frames * tokens, frames * tokens]`: a frame sees itself and the `window` frames before it."""
    t = torch.arange(frames, device=device).repeat_interleave(tokens)
    back = t[:, None] - t[None, :]
    return torch.zeros(len(t), len(t), device=device).masked_fill((back < 0) | (back > window), float("-inf"))


class SelfAttention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys, as in Wan."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.RMSNorm(width, eps=1e-6)
        self.norm_k = nn.RMSNorm(width, eps=1e-6)
        self.o = nn.Linear(width, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of tokens `[B, N, d]`, each `[B, H, N, d/H]`, not rotated."""
        q, k, v = self.qkv(x).chunk(3, -1)
        b, n, _ = x.shape
        parts = (self.norm_q(q), self.norm_k(k), v)
        q, k, v = (p.view(b, n, self.heads, -1).transpose(1, 2) for p in parts)
        return q, k, v

    def merge(self, x: Tensor) -> Tensor:
        """`[B, H, N, d/H]` back to `[B, N, d]` through the output projection."""
        b, _, n, _ = x.shape
        out: Tensor = self.o(x.transpose(1, 2).reshape(b, n, -1))
        return out


class CrossAttention(nn.Module):
    """Tokens attend to the prompt's words."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.o.weight)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        """x `[B, N, d]`, words `[B, S, d]`."""
        b, n, d = x.shape
        q = self.q(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = (p.view(b, words.shape[1], self.heads, -1).transpose(1, 2) for p in self.kv(words).chunk(2, -1))
        out: Tensor = self.o(attend(q, k, v).transpose(1, 2).reshape(b, n, d))
        return out
