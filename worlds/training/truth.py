"""True walks through unseen worlds, rendered only at the moments that a measure looks at, and what a model needs to
walk beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import UPSCALE
from ..conditioning import path_vectors
from ..procedural.attributes import Attributes
from ..procedural.episodes import TEST_SEED, Episode, episode
from ..procedural.paths import Path, limited
from ..procedural.renderer import Depths, Draw, Images, render
from .playing import Model, captions, walk_batch
from .tokenizer import to_tensor

# (model, history, actions, words, generator) to latents [B, T, C, h, w]; tests put the truth in its place
WalkBatch = Callable[[Model, Tensor | None, Tensor, Tensor, torch.Generator], Tensor]
DECODED_AT_ONCE = 32


def only(moments: Sequence[int], draw: Draw = render) -> Draw:
    """A renderer that draws some of the frames: a walk of thousands is known without looking at all of them."""
    chosen = list(moments)

    def drawn(
        vectors: NDArray[np.float64], cameras: NDArray[np.float64], width_px: int, height_px: int
    ) -> tuple[Images, Depths]:
        return draw(np.ascontiguousarray(vectors[chosen]), cameras[chosen], width_px, height_px)

    return drawn


@dataclass(frozen=True, slots=True)
class World:
    """An unseen world to walk through: its seed counts from the first test seed."""

    number: int
    theme: int
    attributes: Attributes | None = None  # drawn from the seed by default


def worlds_of(themes: Sequence[int], each: int, first: int) -> list[World]:
    """`each` worlds of every theme, theme by theme, numbered from `first`."""
    return [World(first + i * len(themes) + k, theme) for k, theme in enumerate(themes) for i in range(each)]


def twins(worlds: Sequence[World], walks: TrueWalks, first: int) -> list[World]:
    """As many other worlds, numbered from `first`, each of one walk's theme, light, weather and mood.

    What a Fréchet distance is measured to. Were the light drawn anew, its chances would outweigh what is measured: of
    144 crops a strong blur was 2.2 times as far as reconstructions, and 8 times as far with these.
    """
    pairs = zip(worlds, walks.episodes, strict=True)
    return [World(first + i, w.theme, e.attributes[0]) for i, (w, e) in enumerate(pairs)]


@dataclass(frozen=True, slots=True)
class TrueWalks:
    """B walks of T frames after the history; pictures at the encoder's size, only at `moments`."""

    moments: tuple[int, ...]  # frames after the history that were rendered; 0 is the first that a model draws
    episodes: list[Episode]  # rgb and depth hold the history, then the moments; cameras and path hold all frames
    history: Tensor  # [B, K, C, h, w]
    actions: Tensor  # [B, T, A]
    words: Tensor  # [B, S, I]

    def at(self, moments: Sequence[int]) -> Tensor:
        """True pictures `[B, M, 3, h, w]` in [0, 1] at some of the rendered moments."""
        rows = [self.row(m) for m in moments]
        return torch.stack([to_tensor(e.rgb[rows]) for e in self.episodes])

    def row(self, moment: int) -> int:
        """Where a moment's picture lies in an episode. Raises ValueError where it was not rendered."""
        return self.history.shape[1] + self.moments.index(moment)

    @property
    def given(self) -> Tensor:
        """The last picture of the history `[B, 3, h, w]`: what copying the last repeats."""
        return torch.stack([to_tensor(e.rgb[self.history.shape[1] - 1][None])[0] for e in self.episodes])

    def camera(self, index: int, moment: int) -> NDArray[np.float64]:
        """`[5]` of a walk at a moment."""
        found: NDArray[np.float64] = self.episodes[index].cameras[self.history.shape[1] + moment]
        return found


def true_walks(
    model: Model, worlds: Sequence[World], paths: Sequence[Path] | None, frames: int, moments: Sequence[int]
) -> TrueWalks:
    """Walk `paths` (`[frames, 4]` each, after standing still for the history) through `worlds`.

    Without paths, each walk is the one that its seed draws, history included.
    """
    c, still = model.config, np.zeros((model.config.network.stack, 4), np.float32)
    whole: list[Path | None] = [None] * len(worlds)
    if paths is not None:
        whole = [limited(np.concatenate([still, p]).astype(np.float32)) for p in paths]
    depth = len(still)
    draw = only([*range(depth), *(depth + m for m in moments)])
    made = [
        episode(
            TEST_SEED + w.number, depth + frames, c.width_px // 2, c.height_px // 2,
            theme=w.theme, path=path, attributes=w.attributes, changes=False, draw=draw,
        )
        for w, path in zip(worlds, whole, strict=True)
    ]  # fmt: skip
    actions = torch.stack([path_vectors(torch.from_numpy(e.path))[depth:] for e in made])
    history = torch.stack([model.encode(e.rgb[:depth]) for e in made])
    return TrueWalks(tuple(moments), made, history, actions, captions(model, [e.captions[0] for e in made]))


def decoded(model: Model, latents: Tensor, shrink: int = UPSCALE) -> Tensor:
    """Latents `[B, M, C, h, w]` to pictures `[B, M, 3, h, w]`: by default at the encoder's size, that of the truth;
    with `shrink` 1 as large as a person sees them."""
    parts = latents.flatten(0, 1).split(DECODED_AT_ONCE)
    return torch.cat([F.avg_pool2d(model.decode(p), shrink) for p in parts]).unflatten(0, latents.shape[:2])


@torch.no_grad()
def rebuilt(model: Model, pictures: Tensor, shrink: int = UPSCALE) -> Tensor:
    """Pictures `[B, M, 3, h, w]` through the tokenizer and back: the ceiling of everything that is drawn."""
    latents = torch.cat([model.autoencoder.encode(p) for p in pictures.flatten(0, 1).split(DECODED_AT_ONCE)])
    return decoded(model, latents.unflatten(0, pictures.shape[:2]), shrink)


def without_memory(model: Model) -> Model | None:
    """The model with its memory of places switched off; None where it has none."""
    if not (model.config.network.recall and model.config.places):
        return None
    return replace(model, config=replace(model.config, places=0))


def walked(model: Model, walks: TrueWalks, seed: int, walk: WalkBatch = walk_batch) -> Tensor:
    """The model's own walk beside the true one: latents `[B, T, C, h, w]`."""
    return walk(model, walks.history, walks.actions, walks.words, torch.Generator().manual_seed(seed))
