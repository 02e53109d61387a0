"""The causal video diffusion transformer: a miniature of Wan's, frame by frame.

Every token of the frame being drawn sees, on its channel axis, the newest clean latents, where the same place was a
frame ago, the newest of them moved as the action says, and remembered frames of this place brought here the same way
(`look`: see reprojection.py and memory.py). Through attention it sees the keys and values of the `window` frames
before. Noise level, motion and prompt modulate each block. The output is the clean latent itself (x-prediction):
drawn, or let through from the moved or the recalled frame by gates.

Training runs whole clips under a causal mask, each frame at its own noise level (diffusion forcing, 2407.01392), so
keys left behind by a last denoising step are what the network was trained to read: committing a frame costs no extra
pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attention import CrossAttention, SelfAttention, attend, attend_cached, causal_bias, rope_table, rotate
from .conditioning import TextEncoder
from .config import NetworkConfig
from .reprojection import Places, Reprojection


def fourier(x: Tensor, size: int) -> Tensor:
    """`[...]` to `[..., size]`: cosines and sines of x in [0, 1] at frequencies 1 to 1000."""
    frequencies = torch.exp(torch.linspace(0.0, math.log(1000.0), size // 2, device=x.device))
    angles = x[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


class Block(nn.Module):
    """Self-attention, optional cross-attention, feed-forward; all modulated per frame."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d = config.width
        self.norm1 = nn.LayerNorm(d, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(d, elementwise_affine=False)
        self.self_attn = SelfAttention(d, config.heads)
        self.cross_attn = CrossAttention(d, config.heads) if config.cross_attention else None
        self.norm3 = nn.LayerNorm(d) if config.cross_attention else None
        self.ffn = nn.Sequential(nn.Linear(d, config.ffn), nn.GELU("tanh"), nn.Linear(config.ffn, d))
        self.modulation = nn.Parameter(torch.randn(6, d) / d**0.5)

    def modulated(self, shared: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale, gate twice, from the shared projection `[B, T, 6, d]`; each `[B, T, 1, d]`."""
        return tuple(p for p in (shared + self.modulation).unsqueeze(3).unbind(2))

    def finish(self, x: Tensor, attended: Tensor, m: tuple[Tensor, ...], words: Tensor | None) -> Tensor:
        """Add the attention's result, then cross-attention and feed-forward. x is `[B, T, N, d]`."""
        x = x + m[2] * self.self_attn.merge(attended).view_as(x)
        if self.cross_attn is not None and self.norm3 is not None and words is not None:
            x = x + self.cross_attn(self.norm3(x).flatten(1, 2), words).view_as(x)
        out: Tensor = x + m[5] * self.ffn(self.norm2(x) * (1 + m[4]) + m[3])
        return out


class WorldNetwork(nn.Module):
    """See the module's docstring. B batch, T frames, C channels, N tokens a frame, W cached frames, S frames seen."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        d, p = config.width, config.patch
        token = config.channels * p * p
        self.reprojection = Reprojection(config) if config.reproject else None
        self.patch_embedding = nn.Linear(token * (1 + config.seen), d)
        self.time_embedding = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.context_embedding = nn.Sequential(nn.Linear(64, d), nn.SiLU(), nn.Linear(d, d))
        self.action_embedding = nn.Sequential(nn.Linear(config.action_size, d), nn.SiLU(), nn.Linear(d, d))
        self.text_embedding = TextEncoder(config.text_buckets, config.text_width, d)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.head_norm = nn.LayerNorm(d, elementwise_affine=False)
        self.head_modulation = nn.Linear(d, 2 * d)
        self.head = nn.Linear(d, token)
        if config.reproject:
            self.gate = nn.Linear(d, token)
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, -2.0)
        if config.recall:
            self.recall_gate = nn.Linear(d, token)
            nn.init.zeros_(self.recall_gate.weight)
            nn.init.constant_(self.recall_gate.bias, -2.0)
        cos, sin = rope_table(64, config.rows // p, config.columns // p, config.head_width)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head_modulation.weight)
        nn.init.zeros_(self.head_modulation.bias)

    def patches(self, x: Tensor) -> Tensor:
        """`[B, T, C, h, w]` to tokens `[B, T, N, C * p * p]`."""
        b, t, c, h, w = x.shape
        p = self.config.patch
        return x.view(b, t, c, h // p, p, w // p, p).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, t, -1, c * p * p)

    def unpatches(self, x: Tensor) -> Tensor:
        """The inverse of `patches`."""
        b, t = x.shape[:2]
        p, c = self.config.patch, self.config.channels
        rows, columns = self.config.rows // p, self.config.columns // p
        x = x.view(b, t, rows, columns, c, p, p).permute(0, 1, 4, 2, 5, 3, 6)
        return x.reshape(b, t, c, rows * p, columns * p)

    def look(self, given: Tensor, action: Tensor, places: Places | None = None) -> Tensor:
        """All that the new frames see on their channel axis, `[B, T, S, C, h, w]`: what is given `[B, T, G, C, h, w]`
        (history.py), its newest frame moved as the action says, and what is remembered of the place: the recalled frame
        and its cover.

        Once a frame, not once a step.
        """
        if self.reprojection is None:
            return given
        moved, recalled, cover = self.reprojection(given, action, places if self.config.recall else None)
        parts = [given, moved[:, :, None]]
        if self.config.recall:
            parts += [recalled[:, :, None], cover.expand_as(recalled)[:, :, None]]
        return torch.cat(parts, 2)

    def embed(
        self, noisy: Tensor, seen: Tensor, sigma: Tensor, sigma_context: Tensor, action: Tensor, pooled: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(tokens `[B, T, N, d]`, embedding `[B, T, d]`, shared modulation `[B, T, 6, d]`)."""
        x = self.patch_embedding(torch.cat([self.patches(noisy), self.patches_of_stack(seen)], -1))
        e = (
            self.time_embedding(fourier(sigma, 256))
            + self.context_embedding(fourier(sigma_context, 64))
            + self.action_embedding(action)
            + pooled[:, None]
        )
        return x, e, self.time_projection(e).unflatten(-1, (6, -1))

    def patches_of_stack(self, stack: Tensor) -> Tensor:
        """`[B, T, K, C, h, w]` to `[B, T, N, K * C * p * p]`."""
        b, t, k = stack.shape[:3]
        tokens = self.patches(stack.flatten(1, 2)).unflatten(1, (t, k))
        return tokens.permute(0, 1, 3, 2, 4).reshape(b, t, self.config.tokens, -1)

    def out(self, x: Tensor, e: Tensor, seen: Tensor) -> Tensor:
        """The clean latent: drawn, or taken from the moved newest frame or the recalled one, number by number in the
        shares of two gates."""
        shift, scale = self.head_modulation(nn.functional.silu(e))[:, :, None].chunk(2, -1)
        x = self.head_norm(x) * (1 + scale) + shift
        drawn: Tensor = self.unpatches(self.head(x))
        if self.config.reproject:
            drawn = drawn + self.unpatches(self.gate(x).sigmoid()) * (seen[:, :, self.config.given] - drawn)
        if self.config.recall:
            recalled, cover = seen[:, :, -2], seen[:, :, -1]
            drawn = drawn + cover * self.unpatches(self.recall_gate(x).sigmoid()) * (recalled - drawn)
        return drawn

    def forward(
        self, noisy: Tensor, seen: Tensor, sigma: Tensor, sigma_context: Tensor, action: Tensor, word_ids: Tensor
    ) -> Tensor:
        """Clean latents `[B, T, C, h, w]` of a whole clip.

        noisy `[B, T, C, h, w]`, seen `[B, T, S, C, h, w]` as `look` makes it, sigma and sigma_context `[B, T]` in [0,
        1], action `[B, T, A]`, word_ids `[B, S, I]`.
        """
        t = noisy.shape[1]
        pooled, words = self.text_embedding(word_ids)
        x, e, shared = self.embed(noisy, seen, sigma, sigma_context, action, pooled)
        n = self.config.tokens
        cos, sin = self.cos[:t].reshape(t * n, -1), self.sin[:t].reshape(t * n, -1)
        bias = causal_bias(t, n, self.config.window, x.device)
        for block in self.blocks:
            assert isinstance(block, Block)
            m = block.modulated(shared)
            q, k, v = block.self_attn.project((block.norm1(x) * (1 + m[1]) + m[0]).flatten(1, 2))
            x = block.finish(x, attend(rotate(q, cos, sin), rotate(k, cos, sin), v, bias), m, words)
        return self.out(x, e, seen)

    def step(
        self, noisy: Tensor, seen: Tensor, sigma: Tensor, sigma_context: Tensor, action: Tensor, pooled: Tensor,
        words: Tensor, keys: Tensor, values: Tensor, slot_bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """One pass over one frame against the cache: the graph that the engines export.

        noisy `[B, 1, C, h, w]`, seen `[B, 1, S, C, h, w]`, sigma and sigma_context `[B, 1]`, action `[B, 1, A]`,
        pooled `[B, d]`, words `[B, S, d]`; keys (rotated to their ages) and values `[L, B, H, W * N, d/H]` and
        `slot_bias` `[W * N]`, -inf where a slot is empty, as `KVCache.view` gives them. Returns the clean latent `[B,
        1, C, h, w]` and this frame's keys (not rotated) and values `[L, B, H, N, d/H]`.
        """
        x, e, shared = self.embed(noisy, seen, sigma, sigma_context, action, pooled)
        window = self.config.window
        cos, sin = self.cos[window], self.sin[window]
        new_keys, new_values = [], []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            m = block.modulated(shared)
            q, k, v = block.self_attn.project((block.norm1(x) * (1 + m[1]) + m[0]).flatten(1, 2))
            new_keys.append(k)
            new_values.append(v)
            attended = attend_cached(rotate(q, cos, sin), rotate(k, cos, sin), v, keys[i], values[i], slot_bias)
            x = block.finish(x, attended, m, words)
        return self.out(x, e, seen), torch.stack(new_keys), torch.stack(new_values)
