"""The causal pass of the transformer through fused operators: the same numbers with a fifth of the memory traffic.

Between two matrix products or attentions lies one kernel: it adds what came before to the residual stream, gates it and
normalises for what comes next, in sixteen bits or, for a block computed in eight, as float8 rows. Queries, keys and
values are one product, whose normalisation, rotation and write into the cache are one kernel; where self-attention is
taken in eight bits it writes queries and cache as float8, and what comes out goes into the next product as it is. Where
a kernel is not to be had, its twin in plain torch runs (kernels/reference.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...kernels.qk_norm_rope import qk_norm_rope
from ...kernels.reference import as_bytes
from ...kernels.residual_norm import residual_norm
from ...kernels.rms_norm import rms_norm
from .activation_choice import Activated, ActivationChoice, ProductShape, apart, choose_activation
from .attention import Context, LayerContext, attend
from .attention_choice import PLAIN, AttentionShape, Choice, Say, candidates, choose, in_eight_bits
from .eight_attention import AttentionScales, EightAttention, EightRows, LayerScales, attend_eight, attend_exactly
from .kv_cache import ChunkPass, KVCache
from .layers import LayerNorm
from .products import BlockProducts, Rows, products_of
from .transformer import Act, ApplyActions, Block, Grid, WanTransformer, told_pair

Attend = Callable[
    [int, Block, Tensor], Tensor | EightRows | None
]  # a block's index, the block, queries, keys and values in one [B, N, 3d]; None: nothing comes after them
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # as `attention.attend`


EIGHT = ("measured", "always", "never")
"""When self-attention is taken in eight bits: where blocks are computed in them and a library is right and fastest;
with a library, or, on a CPU, as the library would round; not at all."""


class FusedTransformer(WanTransformer):
    """A `WanTransformer` whose `chunk` and `chunk_pair` run fused. `forward` and `recache` are as they were."""

    _products: tuple[BlockProducts, ...]
    attention: str  # one of EIGHT
    attends_eight: EightAttention | None  # to a cache of eight bits
    attends: Attention  # to the cache, and across, to words and pictures
    attends_across: Attention
    choices: dict[AttentionShape, Choice]  # what was measured
    activates: Activated  # the first product of a feed-forward in sixteen bits
    activations: dict[ProductShape, ActivationChoice]

    @classmethod
    def of(cls, transformer: WanTransformer, attention: str = "measured") -> FusedTransformer:
        """Shares the weights. `attention`: one of `EIGHT`. Raises ValueError where linear layers were replaced by
        others than those of `fp8_matmul`, or norms are missing: such a model runs as it is."""
        if attention not in EIGHT:
            raise ValueError(f"attention in eight bits is one of {', '.join(EIGHT)}, got {attention!r}")
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        products = []
        for i, block in enumerate(blocks):
            try:
                if not isinstance(block.norm3, LayerNorm):
                    raise ValueError("no norm before the cross-attention")
                products.append(products_of(block))
            except ValueError as error:
                raise ValueError(f"block {i} has {error}; run the transformer as it is") from None
        made = cls.__new__(cls)
        made.__dict__ = transformer.__dict__
        made._products = tuple(products)
        made.attends = made.attends_across = attend
        made.attention, made.attends_eight = attention, None
        made.choices = {}
        made.activates, made.activations = apart, {}
        return made

    def choose_attention(self, tokens: int, frames: int, window: int, say: Say) -> AttentionScales | None:
        """Measure, once for each shape, which attention is the fastest; on a CPU torch's own choice stays. Chunks have
        `frames` latent frames of `tokens` tokens. What is chosen for the full window serves while it fills.

        Returns the scales of a cache of eight bits where such an attention was chosen. Raises RuntimeError where there
        has to be one and none is right.
        """
        if self.device.type == "cuda":
            self._measure(tokens, frames, window, say)
        else:
            self.attends_eight = attend_eight if self.attention == "always" else None
        return None if self.attends_eight is None else self._scales()

    def _measure(self, tokens: int, frames: int, window: int, say: Say) -> None:
        c, always = self.config, self.attention == "always"
        eight = self.attention == "measured" and any(products.eight for products in self._products)
        seen = c.text_len if c.has_text else c.image_tokens
        found: list[Choice] = []
        for keys, to_the_past in ((window * tokens, True), (seen, False)):
            shape = AttentionShape(frames * tokens, keys, c.heads, c.head_width, self.dtype)
            if shape not in self.choices:
                only_eight = to_the_past and always
                ways = in_eight_bits() if only_eight else candidates(self.device, eight and to_the_past)
                self.choices[shape] = choose(shape, self.device, ways, say)
                say(f"attention {shape}: {self.choices[shape]}")
            found.append(self.choices[shape])
        if always and found[0] is PLAIN:
            raise RuntimeError("no library here takes attention in eight bits; pip install nvidia-cudnn-frontend")
        for choice in reversed(found):  # what the larger attention needs comes last, and stays
            choice.enter()
        self.attends, self.attends_across = (choice.attends for choice in found)
        self.attends_eight = found[0].eight

    def _scales(self) -> AttentionScales:
        """Scales that no rotated query or key of this model can exceed."""
        attentions = [block.self_attn for block in self._blocks()]
        bounds = (
            torch.stack([norm.weight.detach().float().abs().amax() for norm in norms]) * self.config.dim**0.5
            for norms in ([a.norm_q for a in attentions], [a.norm_k for a in attentions])
        )
        return AttentionScales(*bounds)

    @torch.no_grad()
    def choose_activation(self, rows: int, say: Say) -> None:
        """Measure, once for each count of tokens, how a feed-forward's first product gets its activation; on a CPU, and
        where all blocks are computed in eight bits, that is not asked."""
        up = next((products.up for products in self._products if not products.eight), None)
        if self.device.type != "cuda" or up is None or up.bias is None:
            return
        shape = ProductShape(rows, up.weight.shape[1], up.weight.shape[0], self.dtype)
        if shape not in self.activations:
            self.activations[shape] = choose_activation(shape, self.device, say)
            say(f"activation {shape}: {self.activations[shape]}")
        self.activates = self.activations[shape].activates

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
        if not self._fits(x, grid, cache):
            return super().chunk(x, timestep, context, cache, commit=commit, actions=actions)
        normed = self._through_cache(x, timestep, context, cache, self._acting(actions, grid, commit), commit)
        assert normed is not None
        return self._pixels(self.head.head(normed), grid)

    @torch.no_grad()
    def commit(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        cache: KVCache,
        *,
        actions: ApplyActions | None = None,
    ) -> None:
        """As `WanTransformer.commit`. Of the last block only keys and values are made, where it has no actions of its
        own to remember: no cache depends on what comes after them."""
        grid, last = self._grid(x, timestep, context, actions), self._blocks()[-1]
        if last.action_model is not None or not self._fits(x, grid, cache):
            super().commit(x, timestep, context, cache, actions=actions)
        else:
            acting = self._acting(actions, grid, commit=True)
            self._through_cache(x, timestep, context, cache, acting, commit=True, asked=False)

    def _fits(self, x: Tensor, grid: Grid, cache: KVCache) -> bool:
        return cache.grid == grid[1:] and cache.batch == x.shape[0] and grid[0] <= cache.chunk

    def _through_cache(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        cache: KVCache,
        act: Act | None,
        commit: bool,
        asked: bool = True,
    ) -> Tensor | None:
        """What the head's product reads; None where nobody asks for it: what comes after the last block's keys is left
        out."""
        plan, last = cache.begin(x.shape[2], commit), len(self._products) - 1

        def attended(layer: int, block: Block, qkv: Tensor) -> Tensor | EightRows | None:
            wanted = asked or layer < last
            out = self._attended(layer, block, qkv, cache, plan, commit, wanted)
            return out if wanted else None

        normed = self._fused(x, timestep, context, attended, act)
        if commit:
            cache.advance(plan)
        return normed

    @torch.no_grad()
    def chunk_pair(
        self,
        clean: Tensor,
        noisy: Tensor,
        timesteps: tuple[float, float],
        context: Context,
        cache: KVCache,
        *,
        actions: ApplyActions | None = None,
    ) -> Tensor:
        """As `WanTransformer.chunk_pair`."""
        x, frames = torch.cat([clean, noisy], 2), clean.shape[2]
        told = told_pair(timesteps, x)
        grid = self._grid(x, told, context, actions)
        plans = cache.begin_pair(frames)

        def attended(layer: int, block: Block, qkv: Tensor) -> Tensor | EightRows:
            first, second = (
                self._attended(layer, block, half, cache, plan, plan is plans[0])
                for half, plan in zip(qkv.chunk(2, 1), plans, strict=True)
            )
            assert first is not None
            assert second is not None
            return joined(first, second)

        normed = self._fused(x, told, context, attended, self._acting(actions, grid, commit=True))
        cache.advance(plans[0])
        assert normed is not None
        return self._pixels(self.head.head(normed.chunk(2, 1)[1]), (frames, grid[1], grid[2]))

    def _fused(
        self, latents: Tensor, timestep: Tensor, context: Context, attended: Attend, act: Act | None
    ) -> Tensor | None:
        """All blocks on the residual stream `[B, N, dim]`, which is changed in place, then the norm of the head;
        None where `attended` wants nothing after it."""
        x = self._patches(latents, self.patch_embedding).contiguous()
        blocks, eps, dtype, (time, projected) = self._blocks(), self.config.eps, x.dtype, self._time(timestep)
        parts = [(block.modulation.float()[:, None] + projected).unbind(2) for block in blocks]
        normed = self._products[0].normed(x, parts[0][0], parts[0][1], eps)
        for i, (block, products) in enumerate(zip(blocks, self._products, strict=True)):
            shift, scale, gate = parts[i][3:]
            given = attended(i, block, products.qkv(normed, dtype))
            if given is None:
                return None
            seen = products.out(rows_of(given, products, dtype), dtype)
            affine = block.norm3
            assert isinstance(affine, LayerNorm)
            weight, bias = affine.weight.float(), affine.bias.float()
            normed = products.added_and_normed(x, seen, parts[i][2], bias, weight, eps, affine=True)
            crossed = self._crossed(block, products, products.cross_q(normed, dtype), context.layers[i])
            if block.action_model is not None and act is not None:
                x = act(i, block.action_model, x + crossed).contiguous()
                normed = products.normed(x, shift, scale, eps)
            else:
                normed = products.added_and_normed(x, crossed, None, shift, scale, eps, affine=False)
            fed = products.fed(normed, dtype, self.activates)
            if i + 1 == len(blocks):
                return residual_norm(x, fed, gate, *self.head.conditions(time), eps=self.head.eps)
            following = parts[i + 1]
            normed = self._products[i + 1].added_and_normed(x, fed, gate, following[0], following[1], eps, affine=False)
        raise AssertionError("a transformer without blocks")

    def _attended(
        self,
        layer: int,
        block: Block,
        qkv: Tensor,
        cache: KVCache,
        plan: ChunkPass,
        commit: bool,
        asked: bool = True,
    ) -> Tensor | EightRows | None:
        """Self-attention of one block before its last product, its keys and values written to the cache; only that,
        and None, where nobody asks for it."""
        q, k, v = qkv.chunk(3, -1)
        attention, unrotated, scales = block.self_attn, None, None
        if commit and cache.sink:
            shape = (*k.shape[:2], attention.heads, k.shape[2] // attention.heads)
            unrotated = torch.empty(shape, dtype=k.dtype, device=k.device)
        if cache.scales is not None:
            cache.fit(layer, v, plan)
            scales = cache.scales.layers[layer]
        queries = qk_norm_rope(
            q, k, v, attention.norm_q.weight.float(), attention.norm_k.weight.float(), plan.rotation.cos,
            plan.rotation.sin, cache.chunk_slots(plan.frames), cache.keys[layer], cache.values[layer],
            eps=self.config.eps, unrotated=unrotated,
            scales=None if scales is None else (scales.queries, scales.keys, scales.values),
        )  # fmt: skip
        keys, values = cache.seen(layer, plan)
        out: Tensor | EightRows | None = None
        if scales is None:
            out = self.attends(queries, keys, values) if asked else None
        elif asked or not plan.held:  # the first chunk's result says how large all are
            out = self._in_eight(queries, keys, values, scales, plan.held > 0)
            if isinstance(out, Tensor) and not plan.held and cache.scales is not None:
                cache.scales.fit_out(layer, out)
        if commit:
            own = keys[:, : plan.frames * cache.tokens] if unrotated is None else unrotated
            cache.keep(layer, own, keys, values, plan)
        return out

    def _in_eight(self, q: Tensor, k: Tensor, v: Tensor, scales: LayerScales, known: bool) -> Tensor | EightRows:
        """Attention to a cache of eight bits; in sixteen while it is not `known` how large the result is, or where the
        cache is of a step that chose eight bits and another has chosen otherwise since."""
        if known and self.attends_eight is not None:
            return self.attends_eight(q, k, v, scales)
        return attend_exactly(q, k, v, scales, self.dtype)

    def _crossed(self, block: Block, products: BlockProducts, q: Tensor, context: LayerContext) -> Tensor:
        """Cross-attention of one block, to words and, apart from them, to the picture."""
        attention = block.cross_attn
        queries = rms_norm(q, attention.norm_q.weight.float(), eps=self.config.eps)
        queries = queries.unflatten(-1, (attention.heads, -1))
        out = self.attends_across(queries, context.keys, context.values)
        if context.image_keys is not None and context.image_values is not None:
            out = out + self.attends_across(queries, context.image_keys, context.image_values)
        return products.cross_out(products.rows(out), q.dtype)


def rows_of(out: Tensor | EightRows, products: BlockProducts, dtype: torch.dtype) -> Rows:
    """What an attention gave, as the block's next product reads it."""
    if not isinstance(out, EightRows):
        return products.rows(out)
    return out.rows() if products.eight else out.exact(dtype)


def joined(before: Tensor | EightRows, after: Tensor | EightRows) -> Tensor | EightRows:
    """Two parts of one layer's tokens, one after the other. In eight bits they have the layer's one scale."""
    if isinstance(before, EightRows) and isinstance(after, EightRows):
        both = torch.cat([as_bytes(before.bytes), as_bytes(after.bytes)], 1)
        return EightRows(both.view(before.bytes.dtype), before.scale)
    if isinstance(before, EightRows) or isinstance(after, EightRows):  # one of them has a plan, the other has none
        dtype = next(part.dtype for part in (before, after) if isinstance(part, Tensor))
        before, after = (part.exact(dtype) if isinstance(part, EightRows) else part for part in (before, after))
    assert isinstance(before, Tensor)
    assert isinstance(after, Tensor)
    return torch.cat([before, after], 1)
