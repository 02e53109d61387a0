"""The painter: a network of its own for the first frame of a world, which has nothing to go by but the prompt.

The blocks are those of the walking network, without history, motion or cache; every token attends to the prompt's words
as well as being modulated by their sum. The output is the clean latent (x-prediction). It learns from first views alone
(`training/painter.py`), so that nothing it learns can change how one walks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend, rope_table, rotate
from .conditioning import TextEncoder
from .network import Block, fourier
from .config import NetworkConfig
from .sampler import euler

Paint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`Painter.forward`, or an engine's form of it for one row."""

Words = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class PainterConfig:
    """How first frames are painted."""

    width: int = 192
    blocks: int = 6
    heads: int = 3
    ffn: int = 768
    steps: tuple[float, ...] = (1.0, 0.96, 0.91, 0.85, 0.78, 0.7, 0.6, 0.48, 0.34, 0.18)
    guidance: float = 3.0  # classifier-free; 1 is off
    guided_to: float = 0.0  # noise levels from which on it is left out: below, nothing that a prompt names is decided

    def network(self, world: NetworkConfig) -> NetworkConfig:
        """The painter's shapes in a world: its own blocks over the world's latents and words."""
        from dataclasses import replace

        return replace(
            world, width=self.width, blocks=self.blocks, heads=self.heads, ffn=self.ffn, stack=0, anchor=False,
            reproject=False, recall=False, cross_attention=True,
        )  # fmt: skip


class Painter(nn.Module):
    """B pictures, C channels, N tokens, S words."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        """`config` is what `PainterConfig.network` makes of a world's."""
        super().__init__()
        self.config = config
        d, p = config.width, config.patch
        token = config.channels * p * p
        self.patch_embedding = nn.Linear(token, d)
        self.time_embedding = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.text_embedding = TextEncoder(config.text_buckets, config.text_width, d)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.head_norm = nn.LayerNorm(d, elementwise_affine=False)
        self.head_modulation = nn.Linear(d, 2 * d)
        self.head = nn.Linear(d, token)
        cos, sin = rope_table(1, config.rows // p, config.columns // p, config.head_width)
        self.register_buffer("cos", cos[0], persistent=False)
        self.register_buffer("sin", sin[0], persistent=False)
        for layer in (self.head, self.head_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, sigma: Tensor, pooled: Tensor, words: Tensor) -> Tensor:
        """The clean latents `[B, C, h, w]` of noisy ones at levels sigma `[B]`, for prompts as `text_embedding` gives
        them: pooled `[B, d]`, words `[B, S, d]`."""
        p = self.config.patch
        x = self.patch_embedding(F.pixel_unshuffle(noisy, p).flatten(2).transpose(1, 2))[:, None]
        e = (self.time_embedding(fourier(sigma, 256)) + pooled)[:, None]
        shared = self.time_projection(e).unflatten(-1, (6, -1))
        for block in self.blocks:
            assert isinstance(block, Block)
            m = block.modulated(shared)
            q, k, v = block.self_attn.project((block.norm1(x) * (1 + m[1]) + m[0]).flatten(1, 2))
            attended = attend(rotate(q, self.cos, self.sin), rotate(k, self.cos, self.sin), v)
            x = block.finish(x, attended, m, words)
        shift, scale = self.head_modulation(F.silu(e))[:, :, None].chunk(2, -1)
        tokens: Tensor = self.head(self.head_norm(x) * (1 + scale) + shift)[:, 0]
        rows, columns = self.config.rows // p, self.config.columns // p
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, columns)), p)


def painted(paint: Paint, config: PainterConfig, asked: Words, nothing: Words, noise: Tensor) -> Tensor:
    """Clean latents `[B, C, h, w]`, drawn from `noise` by prompts, with guidance away from no prompt at all."""

    def clean(z: Tensor, sigma: float) -> Tensor:
        level = torch.full((len(z),), sigma)
        drawn = paint(z, level, *asked)
        if config.guidance == 1.0 or sigma < config.guided_to:
            return drawn
        plain = paint(z, level, *nothing)
        return plain + config.guidance * (drawn - plain)

    z, levels = noise, checked(config.steps)
    for sigma, to in pairwise((*levels, 0.0)):
        z = euler(z, clean(z, sigma), sigma, to)
    return z


def checked(steps: Sequence[float]) -> Sequence[float]:
    """The noise levels of a painting. Raises ValueError unless they fall from 1 and stay above 0."""
    if not steps or steps[0] != 1.0 or not all(a > b > 0 for a, b in pairwise(steps)):
        raise ValueError(f"a painter's steps must fall from 1.0 and stay above 0, got {tuple(steps)}")
    return steps
