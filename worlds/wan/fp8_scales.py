"""Calibration for products in eight bits: the largest input that each linear layer of the blocks is given.

One number for each layer (and for its queries, keys and values), over all passes that run meanwhile. The first and the
last block are left out: they and what lies before and after the blocks stay in sixteen bits, as is usual for diffusion
transformers in fp8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .attention import SelfAttention
from .pass_graph import LINEARS
from .transformer import WanTransformer

FIRST_OF = {"self_attn.qkv": "self_attn.q"}  # q, k and v are given the same tokens


@contextmanager
def calibrated(
    model: WanTransformer, kept: tuple[int, ...] | None = None, *, attention: bool = False
) -> Iterator[dict[str, float]]:
    """Watch the passes inside. Afterwards the dictionary that was given holds amax by layer, for `write_chunk`.

    `kept`: blocks that stay in sixteen bits; the first and the last one where nothing is said. `attention`: for
    self-attention in eight bits too. Raises ValueError where nothing ran.
    """
    blocks = len(model.blocks)
    left_out = {0, blocks - 1} if kept is None else set(kept)
    largest: dict[str, Tensor] = {}
    hooks = []
    for layer in sorted(set(range(blocks)) - left_out):
        for name in LINEARS:
            module = model.get_submodule(f"blocks.{layer}.{FIRST_OF.get(name, name)}")
            hooks.append(module.register_forward_pre_hook(partial(_seen, largest, f"blocks.{layer}.{name}")))
        if attention:
            hooks += _watch_attention(model.get_submodule(f"blocks.{layer}.self_attn"), largest, layer)
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
    _largest(largest, name, given[0].detach().abs().amax().float())


def _largest(largest: dict[str, Tensor], name: str, here: Tensor) -> None:
    largest[name] = torch.maximum(largest[name], here) if name in largest else here


def _watch_attention(module: nn.Module, largest: dict[str, Tensor], layer: int) -> list[RemovableHandle]:
    assert isinstance(module, SelfAttention)
    scale = (module.norm_q.weight.shape[0] // module.heads) ** -0.5

    def turned(name: str, factor: float, _: nn.Module, given: object, out: Tensor) -> None:
        # rotation turns pairs of channels, and none of a pair can become longer than the pair
        pairs = out.detach().float().unflatten(-1, (-1, 2)).norm(dim=-1).amax() * factor
        _largest(largest, f"blocks.{layer}.self_attn.{name}", pairs)

    def plain(_: nn.Module, given: object, out: Tensor) -> None:
        _largest(largest, f"blocks.{layer}.self_attn.values", out.detach().abs().amax().float())

    return [
        module.norm_q.register_forward_hook(partial(turned, "queries", scale)),
        module.norm_k.register_forward_hook(partial(turned, "keys", 1.0)),
        module.v.register_forward_hook(plain),
    ]
