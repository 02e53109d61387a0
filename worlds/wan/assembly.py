"""From the published numbers of a checkpoint to our modules, still without weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from .actions import ActionConfig, ActionModule
from .config import WanConfig
from .layout import TransformerShape
from .live import LivePreset
from .transformer import WanTransformer


def fitted(preset: LivePreset, shape: TransformerShape, window: int) -> LivePreset:
    """A preset with the action modules of a checkpoint's shape, at a window; one without them as it is."""
    a = shape.action
    if preset.actions is None or a is None:
        return preset
    given = replace(
        preset.actions, keyboard=a.keyboard, mouse=a.mouse, blocks=a.blocks, hidden=a.hidden, width=a.inner,
        heads=a.inner // a.head, window=window,
    )  # fmt: skip
    return replace(preset, actions=given)


def empty_transformer(config: WanConfig, actions: ActionConfig | None) -> WanTransformer:
    """On the meta device: shapes without numbers. The first blocks have action modules where there are any."""
    with torch.device("meta"):
        return WanTransformer(
            config, lambda i: ActionModule(actions, config.dim) if actions is not None and i < actions.blocks else None
        )


def transformer_config(shape: TransformerShape, image_tokens: int = 257) -> WanConfig:
    """Our network's shapes for a checkpoint's."""
    return WanConfig(
        dim=shape.dim, ffn_dim=shape.ffn, heads=shape.heads, layers=shape.layers, in_channels=shape.in_channels,
        out_channels=shape.out_channels, text_dim=shape.text or 4096, freq_dim=shape.frequencies,
        has_text=bool(shape.text), image_dim=shape.image or None, image_tokens=image_tokens,
    )  # fmt: skip
