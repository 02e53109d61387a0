"""Our modules against the published layouts, at full size on the meta device: every key is used, none is invented.

The tables in `layout.py` were written from the published descriptions, the modules by other hands.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from worldstream.worlds.wan.actions import ActionConfig, ActionModule
from worldstream.worlds.wan.assembly import transformer_config
from worldstream.worlds.wan.config import WAN_VACE_1_3B
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.layout import transformer
from worldstream.worlds.wan.layout_parts import (
    TaehvShape,
    VaeShape,
    taehv,
    vae,
)
from worldstream.worlds.wan.live import LIVE
from worldstream.worlds.wan.taehv import TAEHV
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vace import WanVace
from worldstream.worlds.wan.vae import WanVAE


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers(name: str) -> None:
    shape = FAMILIES[name].shape
    actions = LIVE[name].actions if name in LIVE else None

    def act(block: int) -> nn.Module | None:
        return ActionModule(actions, shape.dim) if actions is not None and block < actions.blocks else None

    with torch.device("meta"):
        module = WanVace(WAN_VACE_1_3B) if shape.vace_layers else WanTransformer(transformer_config(shape), act)
    assert shapes(module) == transformer(shape)


def test_autoencoders() -> None:
    with torch.device("meta"):
        assert shapes(WanVAE()) == vae(VaeShape())
        assert shapes(TAEHV()) == taehv(TaehvShape())


def test_the_live_presets_are_families() -> None:
    assert set(LIVE) <= set(FAMILIES)
    for name, preset in LIVE.items():
        family = FAMILIES[name]
        assert family.causal
        assert (family.chunk, family.sink) == (preset.block, preset.sink)
        assert family.windows[0] >= preset.block + preset.sink
        assert (family.shape.action is None) == (preset.actions is None)
        if preset.actions is not None:
            assert preset.actions.window == family.windows[0]
            assert isinstance(preset.actions, ActionConfig)
