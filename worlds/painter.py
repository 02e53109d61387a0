"""The painter: a network of its own for the first frame of a world, which has nothing to go by but the prompt.

The blocks are those of the walking network, without history, motion or cache; every token attends to the prompt's words
as well as being modulated by their sum. The output is the clean latent (x-prediction). It learns from first views alone
(`training/painter.py`), so that nothing it learns can change how one walks.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend, rope_table, rotate
from .conditioning import MOST_WORDS, TextEncoder, word_ids
from .config import NetworkConfig, PainterConfig
from .network import Block, fourier
from .procedural import captions
from .sampler import euler

Paint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`Painter.forward`, or an engine's form of it for one row."""

Words = tuple[Tensor, Tensor]


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


def example_painting(painter: Painter) -> tuple[Tensor, ...]:
    """Zeros of the shapes of `Painter.forward` for one picture, for tracing."""
    c = painter.config
    words = torch.zeros(1, MOST_WORDS, c.width)
    return torch.zeros(1, c.channels, c.rows, c.columns), torch.full((1,), 0.5), words[:, 0].clone(), words


def painted(paint: Paint, config: PainterConfig, asked: Words, nothing: Words, noise: Tensor) -> Tensor:
    """Clean latents `[B, C, h, w]`, drawn from `noise` by prompts, with guidance away from no prompt at all
    (2207.12598) at the levels where it acts (2404.07724)."""

    def clean(z: Tensor, sigma: float) -> Tensor:
        level = torch.full((len(z),), sigma)
        drawn = paint(z, level, *asked)
        if config.guidance == 1.0 or not config.guided[0] <= sigma <= config.guided[1]:
            return drawn
        plain = paint(z, level, *nothing)
        return plain + config.guidance * (drawn - plain)

    z = noise
    for sigma, to in pairwise((*config.steps, 0.0)):
        z = euler(z, clean(z, sigma), sigma, to)
    return z


def legible(prompt: str) -> str:
    """A prompt as the painter reads it: where there are words that the grammar never writes, those alone that mean
    something. It attends to every word, and learnt nothing about the others."""
    return ", ".join(captions.meant(prompt) or captions.understood(prompt)) if captions.unknown(prompt) else prompt


class FirstFrames:
    """A painter ready to paint. Shared by the rollouts of a world; used by one thread at a time, as its engine is."""

    def __init__(self, config: PainterConfig, painter: Painter, paint: Paint) -> None:
        """`paint` runs `painter.forward` for one picture."""
        self._config, self._painter, self._paint = config, painter, paint
        self._nothing = self._told("")

    def drawn(self, prompt: str, noise: Tensor) -> Tensor:
        """The clean latent `[1, C, h, w]` of a first frame, from `noise` of that shape."""
        return painted(self._paint, self._config, self._told(prompt), self._nothing, noise)

    @torch.inference_mode()
    def _told(self, prompt: str) -> Words:
        """(pooled, words) of a prompt."""
        ids = word_ids(legible(prompt), self._painter.config.text_buckets)
        pooled, words = self._painter.text_embedding(ids[None])
        return pooled.clone(), words.clone()
