"""Worlds small enough to test: a network whose every part has a say, an autoencoder, a loaded world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from worldstream.worlds.autoencoder import Autoencoder, AutoencoderConfig
from worldstream.worlds.config import NetworkConfig, WorldConfig
from worldstream.worlds.engines import EagerEngine
from worldstream.worlds.network import WorldNetwork
from worldstream.worlds.rollout import Rollout
from worldstream.worlds.weights import LoadedWorld, WorldCard

NETWORK = NetworkConfig(
    width=32, blocks=2, heads=2, ffn=48, channels=3, rows=4, columns=6, stack=2, window=3, text_width=8, text_buckets=64
)
AUTOENCODER = AutoencoderConfig(channels=3, decoder_widths=(6, 6, 6), decoder_blocks=(1, 1, 1))
M = TypeVar("M", bound=nn.Module)
WORLD = WorldConfig(
    name="test", network=NETWORK, autoencoder=AUTOENCODER, step_lists=((1.0, 0.6), (1.0,)), first_steps=(1.0, 0.8, 0.4)
)


def awake(module: M, seed: int = 0) -> M:
    """Random numbers where training starts from zeros: no layer may hide behind its initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if not p.any():
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    return module.eval()


def network(config: NetworkConfig = NETWORK, seed: int = 0) -> WorldNetwork:
    torch.manual_seed(seed)
    model = awake(WorldNetwork(config), seed)
    if model.reprojection is not None:
        model.reprojection.fit(autoencoder(replace(AUTOENCODER, channels=config.channels)))
    return model.requires_grad_(False)


def autoencoder(config: AutoencoderConfig = AUTOENCODER, seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    return awake(Autoencoder(config), seed).requires_grad_(False)


def world(config: WorldConfig = WORLD) -> LoadedWorld:
    """As `load_world` makes it, without files."""
    model, pictures = network(config.network), autoencoder(config.autoencoder)
    card = WorldCard(config, "0" * 64, Path("test.json"), {})
    return LoadedWorld(card, model, pictures, EagerEngine(model, pictures.decoder, 1), config.step_lists[0])


def rollout(config: WorldConfig = WORLD) -> Rollout:
    return world(config).rollout()


def clip(config: NetworkConfig = NETWORK, batch: int = 2, frames: int = 8, seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs of `WorldNetwork.forward`, every frame at its own levels, the first row's prompt empty."""
    g = torch.Generator().manual_seed(seed)
    frame = (config.channels, config.rows, config.columns)
    words = torch.randint(0, config.text_buckets, (batch, 5, 4), generator=g)
    words[0] = 0
    return (
        torch.randn(batch, frames, *frame, generator=g),
        torch.randn(batch, frames, config.seen, *frame, generator=g),
        torch.rand(batch, frames, generator=g),
        torch.rand(batch, frames, generator=g),
        torch.randn(batch, frames, config.action_size, generator=g),
        words,
    )


def with_words(config: NetworkConfig = NETWORK) -> NetworkConfig:
    """The variant that attends to the prompt's words."""
    return replace(config, cross_attention=True)
