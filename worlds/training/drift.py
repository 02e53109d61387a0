"""Measures what the drift monitor calls straying, on true walks that no training saw: `worldstream train drift`.

Renders every eighth frame of 300-frame walks, reads them as the monitor does, takes the spread of the readings within a
walk from one half of the walks and the threshold from the other, and writes `drift.safetensors` beside the world. It
belongs to a tokenizer and a judge: run it again when one of them changes. Two to four minutes on one thread.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from ..autoencoder import Autoencoder
from ..config import DriftConfig, WorldConfig
from ..drift import FILE, Gauge, save_whitening, whitening_of
from ..judge import load_judge
from ..procedural.attributes import THEMES
from ..procedural.episodes import TEST_SEED, episode
from ..procedural.renderer import Depths, Images, render
from ..procedural.scene import Vector
from ..weights import SHIPPED, WorldCard, load_modules
from .tokenizer import to_tensor

SEED = TEST_SEED + 700_000
WALKS, FRAMES = 240, 300
RAISED = 0.01  # share of true walks that may raise it


def true_walk(index: int, config: WorldConfig, frames: int = FRAMES) -> Tensor:
    """Every `config.drift.every`-th picture of a true walk, `[T, 3, h, w]` in [0, 1]; the themes take turns."""
    every = config.drift.every

    def some(vectors: Vector, cameras: Vector, width_px: int, height_px: int) -> tuple[Images, Depths]:
        return render(vectors[::every], cameras[::every], width_px, height_px)

    size = config.width_px // 2, config.height_px // 2
    walk = episode(SEED + index, frames, *size, theme=index % len(THEMES), changes=False, draw=some)
    return to_tensor(walk.rgb)


@torch.no_grad()
def readings(gauge: Gauge, autoencoder: Autoencoder, config: WorldConfig, walks: int) -> Tensor:
    """Raw readings of true walks `[walks, T, R]`."""
    rows, started = [], time.perf_counter()
    for i in range(walks):
        rows.append(gauge.readings(autoencoder.encode(true_walk(i, config))))
        print(f"\rtrue walks {i + 1}/{walks}, {time.perf_counter() - started:.0f} s", end="", flush=True)
    print()
    return torch.stack(rows)


def farthest(readings: Tensor, config: DriftConfig) -> Tensor:
    """How far each walk `[N, T, R]` of whitened readings ever is from its first frame, as the monitor smooths it."""
    recent, most = readings[:, 0], readings.new_zeros(len(readings))
    for now in readings.unbind(1):
        recent = recent + (now - recent) / config.looks
        most = torch.maximum(most, Gauge.distance(recent, readings[:, 0]))
    return most


def scaled(raw: Tensor, config: DriftConfig) -> tuple[Tensor, Tensor]:
    """(whitening, farthest of the held-out walks): 1 is what a share `RAISED` of the held-out walks reaches."""
    half = torch.arange(len(raw)) // len(THEMES) % 2 == 0  # of each theme as many in both halves
    known = raw[half]
    whitening = whitening_of((known - known[:, :1])[:, 1:].flatten(0, 1))
    most = farthest(raw[~half] @ whitening, config)
    threshold = most.quantile(1 - RAISED)
    return whitening / threshold, most / threshold


def measure_drift(folder: Path | None = None, walks: int = WALKS) -> None:
    """Measure for the world in `folder`, the shipped one by default; prints what true walks reach.

    Raises ValueError where there is no world or no judge.
    """
    folder = folder or SHIPPED
    cards = sorted(folder.glob("*.json"))
    if not cards:
        raise ValueError(f"there is no world in {folder}; run `worldstream train export --out {folder}` first")
    card = WorldCard.read(cards[0])
    _, autoencoder = load_modules(card)
    config = card.config
    raw = readings(Gauge(load_judge(folder), autoencoder), autoencoder, config, walks)
    whitening, most = scaled(raw, config.drift)
    save_whitening(folder, whitening)
    quantiles = ", ".join(f"{q:.0%} {float(most.quantile(q)):.2f}" for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    print(f"wrote {folder / FILE}; {len(most)} held-out true walks of {FRAMES} frames reach: {quantiles}")
    raised = [float((most > level).float().mean()) for level in (config.drift.straying, config.drift.lost)]
    print(f"straying is raised in {raised[0]:.1%} of them, lost in {raised[1]:.1%}")
