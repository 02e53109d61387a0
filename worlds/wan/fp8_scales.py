"""Calibration for products in eight bits: the largest input that each linear layer of the blocks is given.

One number for each layer, over all passes that run meanwhile. The first and the last block are left out: they and what
lies before and after the blocks stay in sixteen bits, as is usual for diffusion transformers in fp8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from .pass_graph import LINEARS
from .transformer import WanTransformer

FIRST_OF = {"self_attn.qkv": "self_attn.q"}  # q, k and v are given the same tokens


@contextmanager
def calibrated(model: WanTransformer, kept: tuple[int, ...] | None = None) -> Iterator[dict[str, float]]:
    """Watch the passes inside. Afterwards the dictionary that was given holds amax by layer, for `write_chunk`.

    `kept`: blocks that stay in sixteen bits; the first and the last one where nothing is said. Raises ValueError where
    nothing ran.
    """
    blocks = len(model.blocks)
    left_out = {0, blocks - 1} if kept is None else set(kept)
    largest: dict[str, Tensor] = {}
    hooks = []
    for layer in sorted(set(range(blocks)) - left_out):
        for name in LINEARS:
            module = model.get_submodule(f"blocks.{layer}.{FIRST_OF.get(name, name)}")
            hooks.append(module.register_forward_pre_hook(partial(_seen, largest, f"blocks.{layer}.{name}")))
    amax: dict[str, float] = {}
    try:
        yield amax
    finally:
        for hook in hooks:
            hook.remove()
    if hooks and not largest:
        raise ValueError("no pass ran during the calibration; run a few chunks inside it")
    amax.update({name: float(value) for name, value in largest.items()})


def _seen(largest: dict[str, Tensor], name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
    here = given[0].detach().abs().amax().float()
    largest[name] = torch.maximum(largest[name], here) if name in largest else here
