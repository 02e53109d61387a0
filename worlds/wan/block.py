"""What the Wan 2.1 transformer is a stack of: one block, and the head that turns tokens into patches of velocity.

Parameter names are the published ones. How a block attends, and what its action module knows, is passed in by the pass
that runs it (`transformer.py`), so that a block is the same over a whole clip and over a chunk behind a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from .attention import CrossAttention, LayerContext, SelfAttention
from .config import WanConfig
from .layers import LayerNorm, gated, modulated

Grid = tuple[int, int, int]  # frames, rows and columns of tokens
Attend = Callable[[int, SelfAttention, Tensor], Tensor]  # a block's index, its self-attention, tokens [B, N, dim]
Act = Callable[[int, nn.Module, Tensor], Tensor]  # a block's index, its action module, tokens


class ApplyActions(Protocol):
    """What `actions` of a pass is: it knows what the players did, and calls a block's action module with it.

    `module` is the block's, `x` its tokens `[B, T * rows * columns, dim]`, `layer` its index. `commit` is set on the
    pass over the clean chunk, the only one in which the module's own caches may be written.
    """

    def __call__(self, module: nn.Module, x: Tensor, grid: Grid, layer: int, commit: bool) -> Tensor: ...


class Block(nn.Module):
    """Self-attention, cross-attention, an action module in some blocks of some models, feed-forward."""

    def __init__(self, config: WanConfig, action_model: nn.Module | None = None) -> None:
        super().__init__()
        dim, self.eps = config.dim, config.eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn = SelfAttention(dim, config.heads, self.eps)
        self.norm3 = LayerNorm(dim, eps=self.eps) if config.cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(dim, config.heads, self.eps, config.image_attention)
        self.action_model = action_model
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        context: LayerContext,
        attend: Callable[[SelfAttention, Tensor], Tensor],
        act: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Tokens x `[B, N, dim]`; time `[B, G, 6, dim]` float32, one for each N / G tokens."""
        parts = (self.modulation.float()[:, None] + time).unbind(2)
        x = gated(x, attend(self.self_attn, modulated(x, parts[0], parts[1], self.eps)), parts[2])
        x = x + self.cross_attn(self.norm3(x), context)
        if self.action_model is not None and act is not None:
            x = act(self.action_model, x)
        return gated(x, self.ffn(modulated(x, parts[3], parts[4], self.eps)), parts[5])


class Head(nn.Module):
    """Tokens to patches of velocity."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)
        self.head = nn.Linear(config.dim, config.out_channels * config.patch[1] * config.patch[2])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x `[B, N, dim]`, time `[B, G, dim]`."""
        out: Tensor = self.head(modulated(x, *self.conditions(time), self.eps))
        return out

    def conditions(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale of its norm, float32 `[B, G, dim]`."""
        shift, scale = (self.modulation.float()[:, None] + time.float()[:, :, None]).unbind(2)
        return shift, scale
