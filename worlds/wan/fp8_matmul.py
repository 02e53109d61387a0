"""Linear layers computed in eight bits: weights and activations as float8 e4m3fn, products summed in float32.

Every output row of the weight and every token has a scale of its own, the token's found as it comes (dynamic,
row-wise). The same layers as in `fp8.py` are changed but those of the first and the last block, which stay in sixteen
bits, as is usual for diffusion transformers in fp8. On a GPU `torch._scaled_mm` does the product, from
sm_89 on, by cuBLASLt or CUTLASS; on a CPU it is spelled out, with the same rounding of its inputs. In a fused pass
(`products.py`) the kernel before a product writes its input in eight bits at once.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ...kernels.quantise_rows import quantise_rows
from .fp8 import LARGEST, STORED, linears
from .transformer import WanTransformer

MULTIPLE = 16  # of both sides of a weight, which the GPU's kernels ask for


LEAST = (8, 9)  # compute capability whose matrix units take float8


def why_not(device: torch.device, capability: tuple[int, int] | None = None) -> str | None:
    """Why products cannot be taken in eight bits on a device, in one line; None where they can. `capability`: of the
    GPU, asked for where it is not given."""
    if device.type != "cuda":
        return None
    has = torch.cuda.get_device_capability(device) if capability is None else capability
    if has >= LEAST:
        return None
    return f"compute capability {has[0]}.{has[1]} takes no products in float8, {LEAST[0]}.{LEAST[1]} and newer do"


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
        rows = quantise_rows(x.flatten(0, -2)[None])
        return multiplied(rows, self.weight, self.scale, self.bias, x.dtype).unflatten(1, x.shape[:-1])[0]


def multiplied(
    rows: tuple[Tensor, Tensor], weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """`[B, N, out]` of float8 rows `[B, N, in]` with their scales `[B, N, 1]`; the bias is added in the product."""
    tokens, levels = (part.flatten(0, 1) for part in rows)
    added = None if bias is None else bias.to(torch.bfloat16)
    if tokens.is_cuda:
        out = torch._scaled_mm(
            tokens, weight.t(), levels, scale, bias=added, out_dtype=torch.bfloat16, use_fast_accum=True
        )
    else:  # torch 2.11 takes no scale for each row there
        exact = (tokens.float() @ weight.float().t()) * levels * scale
        out = (exact if added is None else exact + added).to(torch.bfloat16)
    return out.to(dtype).unflatten(0, rows[0].shape[:2])


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `[N, K]` as float8, and the float32 `[N, 1]` that each is to be multiplied by."""
    exact = rows.float()
    scale = exact.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (exact / scale).to(STORED), scale


def compute_fp8(model: WanTransformer, kept: Collection[int] | None = None) -> int:
    """Replace the blocks' linear layers, in place; how many. Cast the model, and merge LoRAs, before.

    `kept`: blocks that stay as they are; the first and the last one where nothing is said.
    """
    sensitive = {0, len(model.blocks) - 1} if kept is None else set(kept)
    outside = {id(child) for i in sensitive for child in model.blocks[i].modules()}
    places = [
        p
        for p in linears(model)
        if id(p[2]) not in outside and not (p[2].in_features % MULTIPLE or p[2].out_features % MULTIPLE)
    ]
    count = len(places)
    while places:
        parent, name, child = places.pop()
        setattr(parent, name, Fp8Matmul(child))
        del child  # its weight is freed before the next one is converted
    return count
