"""Weights stored in eight bits (float8 e4m3fn), computed in whatever the activations are: half the memory of bfloat16.

Stored so: the linear layers inside the blocks (`self_attn` and `cross_attn` q, k, v, o, k_img, v_img; `ffn.0`, `ffn.2`;
VACE's `before_proj`, `after_proj`): 98 % of a 14B model, 97 % of a 1.3B one. Kept as they are: the embeddings of
patches, text, time and image, `time_projection`, the head, all norms and modulations, and action modules.

Each output row has one scale, a power of two. Eight-bit floats lose nothing by that choice but a part of their lowest
exponent, and the product with a power of two is exact in bfloat16: a stored weight is off by one part in 16 at most,
and nothing is rounded again when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import WanTransformer

STORED = torch.float8_e4m3fn
LARGEST = 448.0
KEPT = ("action_model",)  # parts of a block whose linear layers stay as they are


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight `[out, in]` as float8 and a power of two for each row, float32 `[out]`."""
    exact = weight.float()
    _, exponent = torch.frexp(exact.abs().amax(1) / LARGEST)  # the quotient is at most 2 ** exponent
    scale = torch.ldexp(torch.ones_like(exponent, dtype=torch.float32), exponent)
    return (exact / scale[:, None]).to(STORED), scale


class Fp8Linear(nn.Module):
    """A linear layer whose weight is float8, with `scale` `[out]`. `to(dtype)` leaves the eight bits alone."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantised(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """The weight `[out, in]`."""
        return self.weight.to(dtype) * self.scale.to(dtype)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.dequantised(x.dtype), self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moves and casts: as integers the weights are moved, but not taken for numbers that could be cast."""
        self.weight = self.weight.view(torch.uint8)
        try:
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self.weight = self.weight.view(STORED)


def linears(model: WanTransformer) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name, layer) of the layers that are stored or computed in eight bits."""
    return [
        (parent, name, child)
        for path, parent in model.named_modules()
        if path.startswith(("blocks.", "vace_blocks.")) and not set(KEPT) & set(path.split("."))
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]


def store_fp8(model: WanTransformer) -> int:
    """Store the blocks' linear layers in eight bits, in place, one after another; how many. Cast the model before."""
    places = linears(model)
    while places:
        parent, name, child = places.pop()
        setattr(parent, name, Fp8Linear(child))
        del child  # its weight is freed before the next one is converted
    return sum(isinstance(module, Fp8Linear) for module in model.modules())


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
