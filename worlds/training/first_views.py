"""What the painter learns from: the first views of many different worlds, rendered once and kept as latents.

`NNNN.npz` holds the views of `VIEWS_PER_SHARD` worlds and their mirror images (`latents`, float16 `[2, N, C, h, w]`),
and what the worlds are made of (`attributes`, float32 `[N, 7]`, the fields of `Attributes`). Captions are written anew
whenever a view is used. Every shard is decided by its number alone, is written whole or not at all, and is skipped when
it is there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import UPSCALE, Autoencoder
from ..conditioning import word_ids
from ..config import WorldConfig
from ..procedural.attributes import TIMES, WEATHERS, Attributes
from ..procedural.captions import caption
from ..procedural.episodes import draw_attributes, start_camera
from ..procedural.renderer import Draw, eye_height, render
from ..procedural.scene import scene_vector
from .tokenizer import to_tensor

VIEWS_PER_SHARD = 512
FIRST_SEED = 500_000_000  # of the worlds; below those of evaluation, and far from the walks'


def first_view(seed: int) -> tuple[Attributes, NDArray[np.float64], tuple[float, ...]]:
    """(what the world of a seed is made of, its scene, a walker's first camera in it).

    Times and weathers come equally often: a rare one is asked for as often as any other.
    """
    rng = random.Random(seed)
    a = draw_attributes(rng)
    time, weather = rng.randrange(len(TIMES)), rng.randrange(len(WEATHERS))
    a = Attributes(a.theme, time, weather, a.mood, a.density, a.relief, a.variety)
    vector = scene_vector(a, seed)
    x, z, yaw = start_camera(vector, rng)
    return a, vector, (x, eye_height(vector, x, z), z, yaw, 0.0)


def render_views(
    folder: Path, shards: range, world: WorldConfig, autoencoder: Autoencoder, draw: Draw = render
) -> Iterator[int]:
    """Write the missing shards; yields the number of views after each."""
    folder.mkdir(parents=True, exist_ok=True)
    size = world.width_px // UPSCALE, world.height_px // UPSCALE
    for shard in shards:
        path = folder / f"{shard:04d}.npz"
        if not path.exists():
            first = FIRST_SEED + shard * VIEWS_PER_SHARD
            made = [first_view(first + i) for i in range(VIEWS_PER_SHARD)]
            rgb, _ = draw(np.stack([m[1] for m in made]), np.array([m[2] for m in made]), *size)
            with torch.no_grad():
                both = [autoencoder.encode(to_tensor(x)) for x in (rgb, rgb[:, :, ::-1])]
            temporary = path.with_suffix(".part.npz")
            np.savez(
                temporary,
                latents=torch.stack(both).numpy().astype(np.float16),
                attributes=np.array([astuple(m[0]) for m in made], np.float32),
            )
            temporary.rename(path)
        yield (shard + 1) * VIEWS_PER_SHARD


@dataclass(frozen=True, slots=True)
class Views:
    """All first views of a folder, in memory."""

    latents: Tensor  # [2, N, C, h, w] float16, as seen and in the mirror
    attributes: NDArray[np.float32]  # [N, 7]
    buckets: int

    @classmethod
    def open(cls, folder: Path, buckets: int) -> Views:
        """Raises ValueError when the folder holds no finished shard."""
        paths = sorted(p for p in folder.glob("*.npz") if ".part" not in p.name)
        if not paths:
            raise ValueError(f"no first views in {folder}: `worldstream train painter` renders them")
        shards = [np.load(p) for p in paths]
        latents = torch.from_numpy(np.concatenate([s["latents"] for s in shards], 1))
        return cls(latents, np.concatenate([s["attributes"] for s in shards]), buckets)

    def draw(self, rng: np.random.Generator, count: int, drop_text: float) -> tuple[Tensor, Tensor]:
        """(latents `[B, C, h, w]`, words `[B, S, I]`) of as many views; a share has no words at all."""
        rows = rng.integers(self.latents.shape[1], size=count)
        latents = self.latents[rng.integers(2, size=count), rows].float()
        told = [self.told(int(row), rng) if rng.random() >= drop_text else "" for row in rows]
        words = torch.stack([word_ids(text, self.buckets) for text in told])
        return latents, words

    def told(self, row: int, rng: np.random.Generator) -> str:
        """What somebody who wants this view might type: of two captions the one that says more."""
        theme, time, weather, mood, density, relief, variety = self.attributes[row].tolist()
        a = Attributes(int(theme), int(time), int(weather), int(mood), density, relief, variety)
        writer = random.Random(int(rng.integers(1 << 62)))
        return max(caption(a, writer), caption(a, writer), key=len)
