"""Open checkpoints at their full shapes with random weights, made where they run. No files are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from worldstream.worlds.wan.assembly import empty_transformer, fitted, transformer_config
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.layout import TransformerShape
from worldstream.worlds.wan.live import LivePreset, live
from worldstream.worlds.wan.rollout import WanModel
from worldstream.worlds.wan.synthesize import tiny
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import VAEConfig, WanVAE

TINY_PX = (64, 48)
IMAGE_TOKENS = 257


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    family: str
    window: int
    decoder: str = "taehv"

    def name(self, small: bool) -> str:
        """`small`: of the rehearsal, so that nobody takes its times for the model's."""
        width, height = TINY_PX if small else FAMILIES[self.family].sizes[0]
        return f"{'TINY ' * small}{self.family}, {width}×{height}, window {self.window}, {self.decoder}"


def randomly(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A module from the meta device with weights that keep numbers of about unit size."""
    module.to_empty(device=device)
    module.to(dtype)
    g = torch.Generator(device).manual_seed(0)
    for name, p in module.named_parameters():
        if p.ndim == 1 and name.endswith("weight"):
            p.data.fill_(1.0)
        elif p.ndim == 1:
            p.data.zero_()
        else:
            p.data.normal_(0.0, 0.7 * p[0].numel() ** -0.5, generator=g)
    return module.eval().requires_grad_(False)


def shapes(case: Case, small: bool) -> tuple[WanTransformer, WanVAE, TAEHV, LivePreset]:
    """Transformer, both decoders, on the meta device, and how the checkpoint is played."""
    family = FAMILIES[case.family]
    shape: TransformerShape = tiny(family.shape) if small else family.shape
    preset = fitted(live(case.family), shape, case.window)
    network = empty_transformer(transformer_config(shape, IMAGE_TOKENS), preset.actions)
    with torch.device("meta"):
        full = WanVAE(VAEConfig(width=8) if small else VAEConfig())
        light = TAEHV(TAEHVConfig(widths=(16, 8, 8, 8), encoder_width=8) if small else TAEHVConfig())
    return network, full, light, preset


def made(case: Case, device: torch.device, dtype: torch.dtype, small: bool) -> WanModel:
    """The case's model in memory."""
    family = FAMILIES[case.family]
    network, full, light, preset = shapes(case, small)
    config = network.config
    transformer, vae = randomly(network, device, dtype), randomly(full, device, dtype)
    assert isinstance(transformer, WanTransformer)
    assert isinstance(vae, WanVAE)
    transformer.cast(dtype)
    decoder = vae if case.decoder == "vae" else randomly(light, device, dtype)
    width, height = TINY_PX if small else family.sizes[0]
    g = torch.Generator().manual_seed(1)
    words = torch.randn(24, config.text_dim, generator=g)
    image = torch.randn(1, IMAGE_TOKENS, config.image_dim or 1, generator=g)
    picture = torch.randint(0, 256, (height, width, 3), generator=g, dtype=torch.uint8).numpy()
    return WanModel(
        transformer, decoder, preset, width, height, case.window,  # type: ignore[arg-type]
        prompt=(lambda _: words) if config.has_text else None,
        encoder=vae if config.image_dim else None,
        look=(lambda _: image) if config.image_dim else None,
        paint=lambda seed, prompt: picture,
    )  # fmt: skip
