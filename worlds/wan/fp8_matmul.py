"""Linear layers computed in eight bits: weights and activations as float8 e4m3fn, products summed in float32.

Every output row of the weight and every token has a scale of its own, the token's found as it comes (dynamic,
row-wise). The same layers as in `fp8.py` are changed, the same stay. `torch._scaled_mm` does the product: cuBLASLt or
CUTLASS on a GPU from sm_89 on, a reference on a CPU with the same rounding of its inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fp8 import LARGEST, STORED, linears
from .transformer import WanTransformer

MULTIPLE = 16  # of both sides of a weight, which the GPU's kernels ask for


class Fp8Matmul(nn.Module):
    """A linear layer: `weight` float8 `[out, in]`, `scale` float32 `[1, out]`."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = scaled(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())
        self.bias: nn.Parameter | None = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        tokens, levels = scaled(x.flatten(0, -2))
        out = torch._scaled_mm(tokens, self.weight.t(), levels, self.scale, out_dtype=torch.bfloat16)
        out = out.to(x.dtype) if self.bias is None else out.to(x.dtype) + self.bias.to(x.dtype)
        return out.unflatten(0, x.shape[:-1])


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `[N, K]` as float8, and the float32 `[N, 1]` that each is to be multiplied by."""
    exact = rows.float()
    scale = exact.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (exact / scale).to(STORED), scale


def compute_fp8(model: WanTransformer) -> int:
    """Replace the blocks' linear layers, in place; how many. Cast the model, and merge LoRAs, before."""
    places = [p for p in linears(model) if not (p[2].in_features % MULTIPLE or p[2].out_features % MULTIPLE)]
    count = len(places)
    while places:
        parent, name, child = places.pop()
        setattr(parent, name, Fp8Matmul(child))
        del child  # its weight is freed before the next one is converted
    return count
