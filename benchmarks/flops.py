"""How many operations a block and a decoder do, counted on the modules themselves, on tensors without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from worldstream.worlds.wan.actions import ActionCache, ActionRows
from worldstream.worlds.wan.chunk_step import Block, EagerStep, passes
from worldstream.worlds.wan.codec import VideoCodec
from worldstream.worlds.wan.live import LivePreset
from worldstream.worlds.wan.transformer import WanTransformer

META = torch.device("meta")


def block_tflop(network: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> float:
    """Of one block whose window is full: its denoising passes and the clean one. `network` lies on the meta device. One
    pass is counted, because all do the same: counting takes seconds, and a borrowed GPU waits for it."""
    c, step = network.config, EagerStep(network, preset, rows, columns, window)
    while step.cache.held < window - preset.block:
        step.cache.advance(step.cache.begin(preset.block, True))
    image = torch.empty(1, c.image_tokens, c.image_dim or 1, device=META)
    words = torch.empty(1, c.text_len, c.text_dim, device=META)
    context = network.context(words) if c.has_text else network.context(image=image)
    shape = (preset.block, rows, columns)
    noise = torch.empty(1, c.out_channels, *shape, device=META)
    seen, acted = None, None
    if c.in_channels > c.out_channels:
        seen = torch.empty(1, c.in_channels - c.out_channels, *shape, device=META)
    if preset.actions is not None:
        acted = _acted(step, preset)
    with FlopCounterMode(display=False) as counter:
        step.shown(noise, 500.0, Block((noise,), context, seen, acted), step.memory)
    return (passes(preset, False) + 1) * float(counter.get_total_flops()) / 1e12


def _acted(step: EagerStep, preset: LivePreset) -> ActionRows:
    """Rows of one block, for modules whose past is full."""
    a = preset.actions
    assert a is not None
    assert isinstance(step.actions, ActionCache)
    for past, owners in ((p, 1) for p in step.actions.keyboard):
        past.kept = _kept(owners, a.window, a.heads, a.head_width)
    for past in step.actions.mouse:
        past.kept = _kept(step.cache.tokens, a.window, a.heads, a.head_width)
    shape = (1, preset.block, a.rows)
    mouse = torch.empty(*shape, 2, device=META) if a.mouse else None
    return ActionRows(torch.empty(*shape, a.keyboard, device=META), mouse)


def _kept(owners: int, frames: int, heads: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    kept = torch.empty(owners, frames, heads, width, device=META)
    return kept, kept


def latent_tflop(decoder: VideoCodec[Any, Any], rows: int, columns: int) -> float:
    """Of decoding one latent frame after others. `decoder` lies on the meta device."""
    latents = torch.empty(1, decoder.channels, 1, rows, columns, device=META)
    _, state = decoder.decode(latents, None)
    with FlopCounterMode(display=False) as counter:
        decoder.decode(latents, state)
    return float(counter.get_total_flops()) / 1e12
