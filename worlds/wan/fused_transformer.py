"""The causal pass of the transformer through fused operators: the same numbers with a fifth of the memory traffic.

Between two matrix products or attentions lies one kernel: it adds what came before to the residual stream, gates it and
normalises for what comes next. Queries, keys and values are one product, whose normalisation, rotation and write into
the cache are one kernel. Where a kernel is not to be had, its twin in plain torch runs (kernels/reference.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.bias_gelu import bias_gelu
from ...kernels.norm_modulate import norm_modulate
from ...kernels.qk_norm_rope import qk_norm_rope
from ...kernels.residual_norm import residual_norm
from ...kernels.rms_norm import rms_norm
from .attention import Context, LayerContext, attend
from .kv_cache import ChunkPass, KVCache
from .layers import LayerNorm
from .transformer import Act, ApplyActions, Block, WanTransformer


@dataclass(frozen=True, slots=True)
class _Products:
    """One block's merged and bare weights."""

    qkv: Tensor  # [3 * dim, dim]
    qkv_bias: Tensor


class FusedTransformer(WanTransformer):
    """A `WanTransformer` whose `chunk` runs fused. `forward` and `recache` are as they were."""

    _products: tuple[_Products, ...]

    @classmethod
    def of(cls, transformer: WanTransformer) -> FusedTransformer:
        """Shares the weights; those of queries, keys and values become parts of one. Raises ValueError where linear
        layers were replaced or norms are missing: such a model runs as it is."""
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        for i, block in enumerate(blocks):
            layers = (block.self_attn.q, block.self_attn.k, block.self_attn.v, block.ffn[0])
            if not all(type(layer) is nn.Linear for layer in layers) or not isinstance(block.norm3, LayerNorm):
                raise ValueError(f"block {i} has layers that cannot be fused; run the transformer as it is")
        made = cls.__new__(cls)
        made.__dict__ = transformer.__dict__
        made._products = tuple(_merged(block) for block in blocks)
        return made

    @torch.no_grad()
    def chunk(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        cache: KVCache,
        *,
        commit: bool = False,
        actions: ApplyActions | None = None,
    ) -> Tensor:
        """As `WanTransformer.chunk`."""
        grid = self._grid(x, timestep, context, actions)
        if cache.grid != grid[1:] or cache.batch != x.shape[0] or grid[0] > cache.chunk:
            return super().chunk(x, timestep, context, cache, commit=commit, actions=actions)
        plan = cache.begin(grid[0], commit)
        time, parts = self._time(timestep)
        tokens = self._patches(x, self.patch_embedding).contiguous()
        tokens = self._fused(tokens, parts, context, cache, plan, commit, self._acting(actions, grid, commit))
        if commit:
            cache.advance(plan)
        return self._pixels(self.head(tokens, time), grid)

    def _fused(
        self,
        x: Tensor,
        time: Tensor,
        context: Context,
        cache: KVCache,
        plan: ChunkPass,
        commit: bool,
        act: Act | None,
    ) -> Tensor:
        """All blocks on the residual stream x `[B, N, dim]`, which is changed in place."""
        blocks, eps = self._blocks(), self.config.eps
        parts = [(block.modulation.float()[:, None] + time).unbind(2) for block in blocks]
        normed = norm_modulate(x, parts[0][0], parts[0][1], eps=eps)
        slots = cache.chunk_slots(plan.frames)
        for i, block in enumerate(blocks):
            shift, scale, gate = parts[i][3:]
            attended = self._attended(i, block, normed, cache, plan, slots, commit)
            affine = block.norm3
            assert isinstance(affine, LayerNorm)
            weight, bias = affine.weight.float(), affine.bias.float()
            normed = residual_norm(x, attended, parts[i][2], bias, weight, eps=eps, affine=True)
            crossed = _crossed(block, normed, context.layers[i], eps)
            if block.action_model is not None and act is not None:
                x = act(i, block.action_model, x + crossed).contiguous()
                normed = norm_modulate(x, shift, scale, eps=eps)
            else:
                normed = residual_norm(x, crossed, None, shift, scale, eps=eps)
            inner, out = block.ffn[0], block.ffn[2]
            assert isinstance(inner, nn.Linear)
            fed = out(bias_gelu(F.linear(normed, inner.weight), inner.bias))
            if i + 1 < len(blocks):
                normed = residual_norm(x, fed, gate, parts[i + 1][0], parts[i + 1][1], eps=eps)
            else:
                x = (x.float() + (fed.unflatten(1, (gate.shape[1], -1)) * gate[:, :, None]).flatten(1, 2)).to(x.dtype)
        return x

    def _attended(
        self, layer: int, block: Block, normed: Tensor, cache: KVCache, plan: ChunkPass, slots: Tensor, commit: bool
    ) -> Tensor:
        """Self-attention of one block, its keys and values written to the cache."""
        products, attention = self._products[layer], block.self_attn
        q, k, v = F.linear(normed, products.qkv, products.qkv_bias).chunk(3, -1)
        unrotated = None
        if commit and cache.sink:
            shape = (*k.shape[:2], attention.heads, k.shape[2] // attention.heads)
            unrotated = torch.empty(shape, dtype=k.dtype, device=k.device)
        queries = qk_norm_rope(
            q, k, v, attention.norm_q.weight.float(), attention.norm_k.weight.float(), plan.rotation.cos,
            plan.rotation.sin, slots, cache.keys[layer], cache.values[layer], eps=self.config.eps, unrotated=unrotated,
        )  # fmt: skip
        keys, values = cache.seen(layer, plan)
        out: Tensor = attention.o(attend(queries, keys, values))
        if commit:
            own = keys[:, : plan.frames * cache.tokens] if unrotated is None else unrotated
            cache.keep(layer, own, keys, values, plan)
        return out


def _merged(block: Block) -> _Products:
    """The three products as one; the block's own layers become parts of it, so that nothing is kept twice."""
    layers = [block.self_attn.q, block.self_attn.k, block.self_attn.v]
    weight, bias = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
    for layer, part, own in zip(layers, weight.chunk(3), bias.chunk(3), strict=True):
        layer.weight.data, layer.bias.data = part, own
    return _Products(weight.detach(), bias.detach())


def _crossed(block: Block, normed: Tensor, context: LayerContext, eps: float) -> Tensor:
    """Cross-attention of one block, to words and, apart from them, to the picture."""
    attention = block.cross_attn
    q = rms_norm(attention.q(normed), attention.norm_q.weight.float(), eps=eps).unflatten(-1, (attention.heads, -1))
    out = attend(q, context.keys, context.values)
    if context.image_keys is not None and context.image_values is not None:
        out = out + attend(q, context.image_keys, context.image_values)
    crossed: Tensor = attention.o(out)
    return crossed
