"""Short recordings of worlds that a model drew, for the page's landing and the README.

`worldstream train recordings` plays the world through `Rollout`, as a visitor would, and writes looping WebP files
with an index. Nothing of the renderer is in them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from ..core import Action
from ..weights import LoadedWorld, load_world

WALKS: tuple[tuple[str, int], ...] = (
    ("a forest in the morning", 4), ("desert at golden hour", 11), ("neon city at night", 3),
    ("snowy pines, misty dawn", 8), ("autumn forest", 2), ("canyon at noon", 6), ("alien planet at dusk", 5),
    ("tropical island, clear noon", 9),
)  # fmt: skip
FRAMES, EVERY = 72, 2  # three seconds at 24 frames/s, every second frame kept
SHEET_MOMENTS = (0, 18, 36, 54, 71)


def action(index: int) -> Action:
    """Walk forward, and look about a little."""
    return Action(forward_m=0.28, yaw_rad=math.radians(1.6) * math.sin(2 * math.pi * index / FRAMES))


def record(world: LoadedWorld, prompt: str, seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The frames of one walk, uint8 [H, W, 3]."""
    rollout = world.rollout()
    rollout.reset(seed, prompt)
    return [frame.rgb for i in range(FRAMES) for frame in rollout.step(action(i))]


def write_recordings(folder: Path, sheet: Path) -> list[Path]:
    """Write the loops, stills and `index.json` to `folder`, and one contact sheet."""
    world = load_world(engine="eager")
    folder.mkdir(parents=True, exist_ok=True)
    entries, rows, paths = [], [], []
    for prompt, seed in WALKS:
        frames = record(world, prompt, seed)
        name = "-".join(prompt.replace(",", "").split()) + f"-{seed}"
        pictures = [Image.fromarray(f) for f in frames[::EVERY]]
        path = folder / f"{name}.webp"
        duration_ms = round(1e3 * EVERY / world.fps)
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0, quality=55, method=4
        )
        pictures[0].save(folder / f"{name}-still.webp", quality=60)
        entries.append({"file": path.name, "still": f"{name}-still.webp", "prompt": prompt, "seed": seed})
        rows.append(np.hstack([frames[m] for m in SHEET_MOMENTS]))
        paths.append(path)
    (folder / "index.json").write_text(json.dumps({"world": world.name, "recordings": entries}, indent=1) + "\n")
    Image.fromarray(np.vstack(rows)).save(sheet, optimize=True)
    return paths
