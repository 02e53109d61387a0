"""Walkers whose figures are known beforehand: the truth, one that stands still, one that forgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tests.worlds.tiny_world import network
from worldstream.worlds.autoencoder import Autoencoder
from worldstream.worlds.config import NetworkConfig, WorldConfig
from worldstream.worlds.procedural.paths import Path
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.truth import WalkBatch, World, true_walks
from worldstream.worlds.weights import find, load_modules


def pictures() -> Autoencoder:
    """The shipped tokenizer: what it draws is worth measuring."""
    return load_modules(find(None))[1]


def model() -> Model:
    """A world that is never asked to draw, with the shipped tokenizer."""
    config = WorldConfig(network=NetworkConfig(width=32, blocks=1, heads=2, ffn=32, rows=6, columns=8, window=2))
    return Model(config, network(config.network), pictures(), (1.0,))


def latents_of(m: Model, worlds: Sequence[World], paths: Sequence[Path] | None, frames: int) -> Tensor:
    """The whole true walk `[B, T, C, h, w]`, through the encoder."""
    walks = true_walks(m, worlds, paths, frames, range(frames))
    depth = m.config.network.stack
    return torch.stack([m.encode(e.rgb[depth:]) for e in walks.episodes])


def following(walks: Sequence[Tensor], change: Callable[[Tensor], Tensor] = lambda latents: latents) -> WalkBatch:
    """Draws the walk of the length that it is asked for, changed."""

    def walk(m: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
        (found,) = (w for w in walks if w.shape[:2] == actions.shape[:2])
        return change(found)

    return walk


def standing(m: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
    """Repeats the last given frame for ever."""
    assert history is not None
    return history[:, -1:].repeat(1, actions.shape[1], 1, 1, 1)
