"""Attention of a Wan block: among the video's tokens, and from them to the prompt and the image.

Heads lie as `[B, N, H, d]`: keys of new tokens are then appended to a cache without moving what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import RMSNorm, Rotation, rotate


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kT / sqrt(d)) v without a mask: q `[B, N, H, d]`, k and v `[B or 1, M, H, d]`, out `[B, N, H * d]`."""
    k, v = (t.transpose(1, 2).expand(q.shape[0], -1, -1, -1) for t in (k, v))
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k, v)
    return out.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Projections with the published names; queries and keys are RMS-normalised over the whole width."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)

    def queries(self, x: Tensor) -> Tensor:
        """`[B, N, dim]` to `[B, N, H, d]`, not rotated."""
        out: Tensor = self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))
        return out

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, N, dim]` to keys, not rotated, and values, each `[B, N, H, d]`."""
        k, v = self.norm_k(self.k(x)), self.v(x)
        return k.unflatten(-1, (self.heads, -1)), v.unflatten(-1, (self.heads, -1))


class SelfAttention(Attention):
    """Every token attends to every token."""

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        k, v = self.keys_values(x)
        out: Tensor = self.o(attend(rotate(self.queries(x), rotation), rotate(k, rotation), v))
        return out


@dataclass(frozen=True, slots=True)
class LayerContext:
    """What one block's cross-attention reads: S tokens of the prompt, or of the image where there is no text."""

    keys: Tensor  # [B, S, H, d]
    values: Tensor
    image_keys: Tensor | None = None  # [B, I, H, d], attended to by themselves
    image_values: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt (and image) as keys and values of all blocks: made once, used by every pass until the prompt changes."""

    layers: tuple[LayerContext, ...]

    @property
    def batch(self) -> int:
        return self.layers[0].keys.shape[0]

    @property
    def bytes(self) -> int:
        """Held on the device."""
        return sum(
            t.nbytes for c in self.layers for t in (c.keys, c.values, c.image_keys, c.image_values) if t is not None
        )


class CrossAttention(Attention):
    """Tokens attend to the prompt and, apart from it, to the image where the model has `k_img`; the two are added."""

    def __init__(self, dim: int, heads: int, eps: float, image: bool) -> None:
        super().__init__(dim, heads, eps)
        self.image = image
        if image:
            self.k_img, self.v_img = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_k_img = RMSNorm(dim, eps)

    def context(self, tokens: Tensor, image: Tensor | None) -> LayerContext:
        """Of embedded tokens `[B, S, dim]`, and the image's `[B, I, dim]` where it has a branch of its own."""
        k, v = self.keys_values(tokens)
        if not self.image:
            return LayerContext(k, v)
        assert image is not None
        k_img, v_img = self.norm_k_img(self.k_img(image)), self.v_img(image)
        return LayerContext(k, v, k_img.unflatten(-1, (self.heads, -1)), v_img.unflatten(-1, (self.heads, -1)))

    def forward(self, x: Tensor, context: LayerContext) -> Tensor:
        q = self.queries(x)
        out = attend(q, context.keys, context.values)
        if context.image_keys is not None and context.image_values is not None:
            out = out + attend(q, context.image_keys, context.image_values)
        merged: Tensor = self.o(out)
        return merged


def contexts(attentions: Iterable[CrossAttention], tokens: Tensor, image: Tensor | None) -> Context:
    """Keys and values of every block for embedded tokens `[B, S, dim]` and image `[B, I, dim]`."""
    return Context(tuple(attention.context(tokens, image) for attention in attentions))
