"""Episodes: one seeded world, one walk, what the eye saw, and the words for it.

The seed decides everything. Training uses seeds below `TEST_SEED`, evaluation those from it on; none is ever in both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import scene
from .attributes import MOODS, THEMES, TIMES, WEATHERS, Attributes
from .captions import caption
from .paths import FORWARD, PITCH, RIGHT, YAW, Path, walk
from .renderer import Depths, Draw, Images, eye_height, render
from .scene import BLEND, Vector, scene_vector

TEST_SEED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Episode:
    """T frames of one walk."""

    rgb: Images  # [T, H, W, 3]
    depth: Depths  # [T, H, W] metres
    path: Path  # [T, 4] motion into each frame; row 0 is not seen by anyone
    cameras: NDArray[np.float64]  # [T, 5]
    captions: tuple[str, str]  # before and after the change of light or weather; the same where there is none
    change_at: int  # the frame from which the second caption holds; T where nothing changes
    attributes: tuple[Attributes, Attributes]


def draw_attributes(rng: random.Random, theme: int | None = None) -> Attributes:
    """Uniform over themes, times, weathers and moods."""
    return Attributes(
        rng.randrange(len(THEMES)) if theme is None else theme,
        rng.randrange(len(TIMES)),
        rng.choices(range(len(WEATHERS)), (3, 2, 2, 1.5, 1.2, 1.3))[0],
        rng.choices(range(len(MOODS)), (3, 1, 1.5, 1.5, 1, 1))[0],
        rng.random(), rng.random(), rng.random(),
    )  # fmt: skip


def start_camera(vector: Vector, rng: random.Random) -> tuple[float, float, float]:
    """(x, z, yaw) of a walker's first step: a crossing in a city, anywhere else elsewhere, never far under water."""
    cell = float(vector[scene.CELL])
    x = z = 0.0
    for _ in range(40):
        if vector[scene.GRID] > 0:
            block = vector[scene.GRID] * cell
            x, z = (rng.randrange(-20, 20) * block + rng.uniform(0.3, 0.7) * cell for _ in range(2))
            return x, z, rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.gauss(0, 0.25)
        x, z = rng.uniform(-200, 200), rng.uniform(-200, 200)
        if eye_height(vector, x, z) > vector[scene.WATER] + 1.75:
            break
    return x, z, rng.uniform(0, 2 * np.pi)


def cameras_along(vector: Vector, path: Path, start: tuple[float, float, float]) -> NDArray[np.float64]:
    """`float64[T, 5]`: the first row stands at `start`, each next row adds its own motion (turn, then step)."""
    cameras = np.empty((len(path), 5))
    x, z, yaw = start
    pitch = 0.0
    for i, row in enumerate(path):
        if i:
            yaw, pitch = yaw + float(row[YAW]), pitch + float(row[PITCH])
            sin, cos = np.sin(yaw), np.cos(yaw)
            x += float(row[RIGHT]) * cos + float(row[FORWARD]) * sin
            z += float(row[FORWARD]) * cos - float(row[RIGHT]) * sin
        cameras[i] = x, eye_height(vector, x, z), z, yaw, pitch
    return cameras


def episode(
    seed: int,
    frames: int,
    width_px: int,
    height_px: int,
    *,
    theme: int | None = None,
    path: Path | None = None,
    attributes: Attributes | None = None,
    changes: bool = True,
    draw: Draw = render,
) -> Episode:
    """The episode of a seed. `path` replaces the drawn walk, `attributes` the drawn world; `changes` allows 10 % of
    the episodes to change their light, weather and mood on the way."""
    rng = random.Random(seed)
    before = attributes if attributes is not None else draw_attributes(rng, theme)
    vector = scene_vector(before, seed)
    drawn = walk(np.random.default_rng(seed), frames)
    path = drawn if path is None else path
    cameras = cameras_along(vector, path, start_camera(vector, rng))
    vectors = np.broadcast_to(vector, (len(path), len(vector))).copy()
    after, change_at = before, len(path)
    words = caption(before, rng)
    new_words = words
    if changes and rng.random() < 0.1 and len(path) >= 24:
        other = draw_attributes(rng, before.theme)
        after = Attributes(
            before.theme, other.time, other.weather, other.mood, before.density, before.relief, before.variety
        )
        change_at, over = rng.randrange(4, len(path) - 16), rng.randrange(16, 44)
        blend = np.clip((np.arange(len(path)) - change_at) / over, 0, 1)[:, None]
        vectors[:, BLEND] += blend * (scene_vector(after, seed)[BLEND] - vector[BLEND])
        new_words = caption(after, rng)
    rgb, depth = draw(vectors, cameras, width_px, height_px)
    return Episode(rgb, depth, path, cameras, (words, new_words), change_at, (before, after))
