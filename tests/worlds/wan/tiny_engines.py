"""Tiny random networks whose graphs ONNX Runtime runs and TensorRT builds, and how far two tensors are apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from tests.worlds.wan.wan_reference import randomised
from worldstream.worlds.wan.config import WanConfig
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import VAEConfig, WanVAE

ROWS, COLUMNS = 4, 6  # cells of a latent frame: 6 tokens
# heads of 64 channels: TensorRT has fused attention for them, not for narrower ones
TINY = WanConfig(
    dim=128, ffn_dim=192, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=16, text_len=24, freq_dim=32
)
TINY_I2V = replace(TINY, in_channels=8, image_dim=20, image_tokens=7)
TINY_GAME = replace(TINY, in_channels=8, has_text=False, image_dim=20, image_tokens=7)
TOLERANCE = 1e-4
M = TypeVar("M", bound=torch.nn.Module)


@cache
def transformer(config: WanConfig = TINY) -> WanTransformer:
    model = WanTransformer(config).eval().requires_grad_(False)
    randomised(model, 0)
    return model


@cache
def vae() -> WanVAE:
    return _random(WanVAE(VAEConfig(width=8)))


@cache
def taehv(patch: int = 1) -> TAEHV:
    codec = _random(TAEHV(TAEHVConfig(widths=(16, 8, 8, 8), patch=patch)))
    last = codec.decoder[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    last.bias.data.fill_(0.5)  # else half of a random picture is clipped to black
    return codec


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def error(got: Tensor, wanted: Tensor) -> float:
    """||got - wanted|| / ||wanted||, both finite."""
    assert got.shape == wanted.shape, f"{got.shape} is not {wanted.shape}"
    assert got.isfinite().all()
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


def _random(module: M) -> M:
    g = seeded(1)
    for p in module.parameters():
        p.data = 1 + 0.2 * torch.randn(p.shape, generator=g) if p.ndim > 1 and p.numel() == len(p) else p.data
        if p.ndim > 1 and p.numel() > len(p):
            p.data = 1.4 * p[0].numel() ** -0.5 * torch.randn(p.shape, generator=g)
    return module.eval().requires_grad_(False)
