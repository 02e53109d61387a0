"""Rendered training data on disk: stills for the tokenizer, walks for the dynamics.

`stills/NNN.npy` holds `uint8[n, 2h, 2w, 3]` pictures at the decoder's size, `walks/NNN/` holds `rgb.npy`
(`uint8[E, T, h, w, 3]` at the encoder's size), `paths.npy` (`float32[E, T, 4]`) and `meta.json`. Every shard is decided
by its number alone, is written whole or not at all, and is skipped when it is already there: the command can be stopped
and run again.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..procedural.attributes import Attributes
from ..procedural.episodes import TEST_SEED, draw_attributes, episode, start_camera
from ..procedural.paths import MAX_PITCH_RAD
from ..procedural.renderer import Draw, eye_height, render
from ..procedural.scene import Vector, scene_vector

STILLS_PER_SHARD, EPISODES_PER_SHARD = 512, 32


@dataclass(frozen=True, slots=True)
class DataConfig:
    """How much to render and at which size; the decoder's pictures are twice the encoder's."""

    width_px: int = 128
    height_px: int = 80
    frames: int = 64
    stills: int = 16_384
    episodes: int = 2_048
    test: bool = False  # seeds of the test range, for evaluation only
    device: str = "cpu"

    @property
    def first_seed(self) -> int:
        return TEST_SEED if self.test else 0

    @property
    def draw(self) -> Draw:
        if self.device == "cpu":
            return render
        from ..procedural import cuda

        return cuda.render


def still_batch(
    seed: int, count: int, width_px: int, height_px: int, draw: Draw = render
) -> tuple[NDArray[np.uint8], list[Attributes]]:
    """`count` pictures of as many different places, four places a world."""
    rng = random.Random(seed * 31 + 5)
    vectors: list[Vector] = []
    cameras: list[tuple[float, ...]] = []
    attributes: list[Attributes] = []
    while len(cameras) < count:
        drawn = draw_attributes(rng)
        vector = scene_vector(drawn, seed * 100_003 + len(cameras))
        for _ in range(min(4, count - len(cameras))):
            x, z, yaw = start_camera(vector, rng)
            x, z = x + rng.uniform(-2, 2), z + rng.uniform(-2, 2)
            pitch = max(-MAX_PITCH_RAD, min(MAX_PITCH_RAD, rng.gauss(0, 0.12)))
            vectors.append(vector)
            cameras.append((x, eye_height(vector, x, z), z, yaw + rng.uniform(-3, 3), pitch))
            attributes.append(drawn)
    rgb, _ = draw(np.stack(vectors), np.array(cameras), width_px, height_px)
    return rgb, attributes


def render_stills(folder: Path, config: DataConfig) -> Iterator[int]:
    """Write the missing still shards; yields the number of pictures after each."""
    (folder / "stills").mkdir(parents=True, exist_ok=True)
    for shard in range(-(-config.stills // STILLS_PER_SHARD)):
        path = folder / "stills" / f"{shard:04d}.npy"
        if not path.exists():
            rgb, _ = still_batch(
                config.first_seed + shard + 7, STILLS_PER_SHARD, 2 * config.width_px, 2 * config.height_px, config.draw
            )
            temporary = path.with_suffix(".part.npy")
            np.save(temporary, rgb)
            temporary.rename(path)
        yield (shard + 1) * STILLS_PER_SHARD


def render_walks(folder: Path, config: DataConfig) -> Iterator[int]:
    """Write the missing walk shards; yields the number of episodes after each."""
    (folder / "walks").mkdir(parents=True, exist_ok=True)
    for shard in range(-(-config.episodes // EPISODES_PER_SHARD)):
        path = folder / "walks" / f"{shard:04d}"
        if not path.exists():
            _walk_shard(path, config, config.first_seed + shard * EPISODES_PER_SHARD)
        yield (shard + 1) * EPISODES_PER_SHARD


def _walk_shard(path: Path, config: DataConfig, first_seed: int) -> None:
    episodes = [
        episode(first_seed + i, config.frames, config.width_px, config.height_px, draw=config.draw)
        for i in range(EPISODES_PER_SHARD)
    ]
    temporary = path.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    np.save(temporary / "rgb.npy", np.stack([e.rgb for e in episodes]))
    np.save(temporary / "paths.npy", np.stack([e.path for e in episodes]))
    meta = [
        {
            "seed": first_seed + i,
            "captions": e.captions,
            "change_at": e.change_at,
            "attributes": [asdict(a) for a in e.attributes],
        }
        for i, e in enumerate(episodes)
    ]
    (temporary / "meta.json").write_text(json.dumps(meta))
    temporary.rename(path)


@dataclass(frozen=True, slots=True)
class Walks:
    """All walk shards of a folder, memory-mapped."""

    rgb: list[NDArray[np.uint8]]  # a shard each: [E, T, h, w, 3]
    paths: NDArray[np.float32]  # [E of all shards, T, 4]
    meta: list[dict[str, object]]

    @classmethod
    def open(cls, folder: Path, most_shards: int = 1 << 30) -> Walks:
        """Raises ValueError when the folder holds no finished shard."""
        shards = sorted(p for p in (folder / "walks").glob("[0-9]*") if p.is_dir() and p.suffix == "")[:most_shards]
        if not shards:
            raise ValueError(f"no walks in {folder}: run `worldstream train data --runs {folder.parent}` first")
        return cls(
            [np.load(s / "rgb.npy", mmap_mode="r") for s in shards],
            np.concatenate([np.load(s / "paths.npy") for s in shards]),
            [row for s in shards for row in json.loads((s / "meta.json").read_text())],
        )


def timed(name: str, counts: Iterator[int], of: int) -> None:
    """Drive a render with one line of progress."""
    started = time.perf_counter()
    for done in counts:
        spent = time.perf_counter() - started
        print(f"\r{name} {done}/{of}, {spent:.0f} s", end="", flush=True)
    print()
