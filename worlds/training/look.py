"""Pairs of renders of one view in two lights or seasons, and the network that learns to go from one to the other.

A season is the ground's and the plants' colours of another theme over a place that stays as it is: hills, trees and
houses are those of the source. Seeds of the training range alone.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from ..edit_grid import coloured, luminance, sliced
from ..edit_look import ASKED, FILE, HEIGHT_PX, SIZES, WIDTH_PX, LookNetwork, load_look
from ..procedural.attributes import Attributes
from ..procedural.episodes import draw_attributes, start_camera
from ..procedural.paths import MAX_PITCH_RAD
from ..procedural.renderer import eye_height, render
from ..procedural.scene import BLEND, GROUND_A, GROUND_B, SLOT_COUNT, SLOT_SIZE, SLOTS, WATER_RGB, Vector, scene_vector

VARIANTS = 4  # renders of one view
FIRST_SEED = 400_000_000  # apart from what world and judge were trained on


def recoloured(place: Attributes, wanted: Attributes, seed: int) -> Vector:
    """The scene of `place` in the light, weather and mood of `wanted`, with the colours of its theme."""
    here, there = scene_vector(place, seed), scene_vector(wanted, seed)
    out = here.copy()
    out[BLEND] = there[BLEND]
    if place.theme != wanted.theme:
        for at in (GROUND_A, GROUND_B, WATER_RGB):
            out[at : at + 3] = there[at : at + 3]
        for slot in range(SLOT_COUNT):
            at = SLOTS + slot * SLOT_SIZE
            out[at + 3 : at + SLOT_SIZE] = there[at + 3 : at + SLOT_SIZE]
    return out


def changed(a: Attributes, rng: random.Random) -> Attributes:
    """Another theme's colours, time, weather or mood: one of them, or several."""
    other = draw_attributes(rng)
    names = ("theme", "time", "weather", "mood")
    chosen = {rng.choice(names)} | {name for name in names if rng.random() < 0.25}
    values = {name: getattr(other if name in chosen else a, name) for name in names}
    return Attributes(**values, density=a.density, relief=a.relief, variety=a.variety)


@dataclass(frozen=True, slots=True)
class Views:
    """N views in VARIANTS looks each."""

    rgb: NDArray[np.uint8]  # [N, VARIANTS, 40, 64, 3]
    looks: NDArray[np.int64]  # [N, VARIANTS, 4] theme, time, weather, mood


def drawn_views(seed: int, count: int) -> Views:
    """Rendered views from `seed` on."""
    vectors, cameras, looks = [], [], []
    for i in range(count):
        rng = random.Random(seed + i)
        place = draw_attributes(rng)
        variants = [place, *(changed(place, rng) for _ in range(VARIANTS - 1))]
        vector = scene_vector(place, seed + i)
        x, z, yaw = start_camera(vector, rng)
        pitch = max(-MAX_PITCH_RAD, min(MAX_PITCH_RAD, rng.gauss(0, 0.08)))
        camera = (x, eye_height(vector, x, z), z, yaw + rng.uniform(-3, 3), pitch)
        for look in variants:
            vectors.append(recoloured(place, look, seed + i))
            cameras.append(camera)
            looks.append((look.theme, look.time, look.weather, look.mood))
    large, _ = render(np.stack(vectors), np.array(cameras), 2 * WIDTH_PX, 2 * HEIGHT_PX)
    rgb = halved(large)
    return Views(rgb.reshape(count, VARIANTS, HEIGHT_PX, WIDTH_PX, 3), np.array(looks).reshape(count, VARIANTS, 4))


def halved(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures `[N, H, W, 3]` at half their size, by area."""
    n, height, width, _ = rgb.shape
    blocks = rgb.reshape(n, height // 2, 2, width // 2, 2, 3).astype(np.uint16)
    return ((blocks.sum((2, 4)) + 2) // 4).astype(np.uint8)


def render_views(folder: Path, views: int, shard: int = 512) -> list[Path]:
    """Write the missing shards; returns all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(-(-views // shard)):
        path = folder / f"{i:04d}.npz"
        if not path.exists():
            drawn = drawn_views(FIRST_SEED + i * shard, shard)
            temporary = path.with_suffix(".part.npz")
            np.savez(temporary, rgb=drawn.rgb, looks=drawn.looks)
            temporary.rename(path)
        paths.append(path)
    return paths


def batch(views: Views, rows: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(before, after `[rows, 3, 40, 64]`, wishes `[rows, ASKED]`). What stays is named in half of the wishes."""
    at = rng.integers(len(views.rgb), size=rows)
    pairs = np.stack([rng.permutation(VARIANTS)[:2] for _ in range(rows)])
    before, after = (torch.from_numpy(views.rgb[at, pairs[:, i]]).permute(0, 3, 1, 2).float() / 255 for i in (0, 1))
    wishes, offset = torch.zeros(rows, ASKED), 0
    for slot, size in enumerate(SIZES):
        old, new = (views.looks[at, pairs[:, i], slot] for i in (0, 1))
        named = (old != new) | (rng.random(rows) < 0.5)
        wishes[np.flatnonzero(named), offset + new[named]] = 1.0
        offset += size
    return before, after, wishes


def loss_of(network: LookNetwork, before: Tensor, after: Tensor, wishes: Tensor) -> Tensor:
    """Mean distance of colours, large errors counted more than small ones."""
    made = coloured(sliced(network(before, wishes), luminance(before)), before)
    wrong = made - after
    return (wrong.square() + 1e-4).sqrt().mean() + wrong.square().mean()


def train_look(
    runs: Path, out: Path, minutes: float, views: int = 10_240, rows: int = 32, start_from: Path | None = None
) -> dict[str, float]:
    """Render what is missing, train, write `look.safetensors` into `out`; what was reached on views apart. It goes on
    from the weights in the folder `start_from`, where there is one."""
    shards = [np.load(path) for path in render_views(runs / "looks", views)]
    every = Views(np.concatenate([s["rgb"] for s in shards]), np.concatenate([s["looks"] for s in shards]))
    held = max(1, len(every.rgb) // 32)
    train, test = Views(every.rgb[:-held], every.looks[:-held]), Views(every.rgb[-held:], every.looks[-held:])
    torch.set_num_threads(1)  # no gain from more at this size
    torch.manual_seed(0)
    network, rng = LookNetwork(), np.random.default_rng(0 if start_from is None else 1)
    highest = 2e-3
    if start_from is not None:
        network.load_state_dict(load_look(start_from).network.state_dict())
        highest = 1e-3
    optimizer = torch.optim.AdamW(network.parameters(), lr=highest, weight_decay=0.01)
    started, updates, average = time.monotonic(), 0, 0.0
    while (gone := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = highest * min(1.0, updates / 200) * (1 - gone) + 1e-5
        loss = loss_of(network, *batch(train, rows, rng))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        updates += 1
        average += 0.01 * (float(loss.detach()) - average) if updates > 1 else float(loss.detach())
        if updates % 200 == 0:
            print(f"update {updates}, loss {average:.4f}, {100 * gone:.0f} %", flush=True)
    with torch.no_grad():
        reached = float(loss_of(network.eval(), *batch(test, 256, np.random.default_rng(1))))
    save_look(out, network)
    return {"updates": float(updates), "loss": reached}


def save_look(folder: Path, network: LookNetwork) -> None:
    """Write what `load_look` reads, in half precision."""
    tensors = {k: v.detach().half().contiguous() for k, v in network.state_dict().items()}
    save_file(tensors, folder / FILE)
    (folder / FILE).chmod(0o644)
