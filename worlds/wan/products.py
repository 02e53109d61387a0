"""The matrix products of a fused pass, in sixteen or in eight bits.

A product in eight bits reads rows of float8, which the kernel before it has written: a norm, an activation, or, after
an attention, a cast of one pass. So no tensor is read once more only to change its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.bias_gelu import bias_gelu, bias_gelu_fp8
from ...kernels.norm_modulate import norm_modulate, norm_modulate_fp8
from ...kernels.quantise_rows import quantise_rows
from ...kernels.residual_norm import residual_norm, residual_norm_fp8
from .activation_choice import Activated, apart
from .fp8_matmul import Fp8Matmul, multiplied
from .transformer import Block

Rows = Tensor | tuple[Tensor, Tensor]
"""Tokens `[B, N, d]`, or the same as float8 with scales `[B, N, 1]`."""


@dataclass(frozen=True, slots=True)
class Product:
    """One linear layer, or several as one."""

    weight: Tensor  # [out, in], float8 where it has a scale
    bias: Tensor | None
    scale: Tensor | None  # float32 [1, out]

    def __call__(self, rows: Rows, dtype: torch.dtype, *, bias: bool = True) -> Tensor:
        """`[B, N, out]` as `dtype`; without `bias` the kernel that follows adds it."""
        added = self.bias if bias else None
        if self.scale is None:
            assert isinstance(rows, Tensor), "rows of eight bits for a product in sixteen"
            return F.linear(rows, self.weight, added)
        assert isinstance(rows, tuple), "rows of sixteen bits for a product in eight"
        return multiplied(rows, self.weight, self.scale, added, dtype)


@dataclass(frozen=True, slots=True)
class BlockProducts:
    """All products of one block's pass, all in sixteen bits or all in eight."""

    qkv: Product
    out: Product  # of self-attention
    cross_q: Product
    cross_out: Product
    up: Product
    down: Product

    @property
    def eight(self) -> bool:
        return self.qkv.scale is not None

    def normed(self, x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Rows:
        """What this block's next product reads of the residual stream."""
        if self.eight:
            return norm_modulate_fp8(x, shift, scale, eps=eps)
        return norm_modulate(x, shift, scale, eps=eps)

    def added_and_normed(
        self, x: Tensor, added: Tensor, gate: Tensor | None, shift: Tensor, scale: Tensor, eps: float, affine: bool
    ) -> Rows:
        """The same after `added` has gone into x, in place."""
        if self.eight:
            return residual_norm_fp8(x, added, gate, shift, scale, eps=eps, affine=affine)
        return residual_norm(x, added, gate, shift, scale, eps=eps, affine=affine)

    def rows(self, x: Tensor) -> Rows:
        """Tokens as they are, for a product."""
        return quantise_rows(x.contiguous()) if self.eight else x

    def fed(self, rows: Rows, dtype: torch.dtype, activates: Activated = apart) -> Tensor:
        """The feed-forward; `activates`: how its first product gets bias and activation in sixteen bits."""
        if self.eight:
            return self.down(bias_gelu_fp8(self.up(rows, dtype, bias=False), self._up_bias(dtype)), dtype)
        assert isinstance(rows, Tensor), "rows of eight bits for a product in sixteen"
        weight, bias = self.up.weight, self.up.bias
        inner = bias_gelu(F.linear(rows, weight)) if bias is None else activates(rows, weight, bias)
        return self.down(inner, dtype)

    def _up_bias(self, dtype: torch.dtype) -> Tensor | None:
        return None if self.up.bias is None else self.up.bias.to(dtype)


def products_of(block: Block) -> BlockProducts:
    """The block's linear layers; those of queries, keys and values become parts of one, so that nothing is kept twice.
    Raises ValueError where they are not all of one kind."""
    attention, cross = block.self_attn, block.cross_attn
    joined = [attention.q, attention.k, attention.v]
    single = [attention.o, cross.q, cross.o, block.ffn[0], block.ffn[2]]
    kinds = {type(layer) for layer in (*joined, *single)}
    if kinds not in ({nn.Linear}, {Fp8Matmul}):
        raise ValueError("layers that cannot be fused")
    return BlockProducts(_merged(joined), *map(_product, single))


def _product(layer: nn.Module) -> Product:
    weight, bias, scale = (getattr(layer, name, None) for name in ("weight", "bias", "scale"))
    assert weight is not None
    return Product(weight.detach(), None if bias is None else bias.detach(), scale)


def _merged(layers: Sequence[nn.Module]) -> Product:
    parts = [_product(layer) for layer in layers]
    weight = torch.cat([part.weight for part in parts])
    bias = torch.cat([part.bias for part in parts if part.bias is not None])
    scale = (
        torch.cat([part.scale for part in parts if part.scale is not None], 1) if parts[0].scale is not None else None
    )
    count = len(layers)
    for layer, part, own in zip(layers, weight.chunk(count), bias.chunk(count), strict=True):
        layer.weight.data, layer.bias.data = part, own
    if scale is not None:
        for layer, levels in zip(layers, scale.chunk(count, 1), strict=True):
            layer.scale = levels
    return Product(weight.detach(), bias.detach(), scale)
