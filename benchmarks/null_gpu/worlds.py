"""Every live family, tiny, from its folder to frames on the stand-in: as a server loads and plays it.

    python benchmarks/null_gpu/run.py PYTHON benchmarks/null_gpu/worlds.py

Walks turn, change their words, are snapshot and restored, and two of them take turns. What raises ends the run; what
the host may not do shows in the lines at the end.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.null_gpu.counted import checked
from worldstream.worlds import catalogue
from worldstream.worlds.core import Action
from worldstream.worlds.model_card import ModelCard
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.live import LIVE
from worldstream.worlds.wan.synthesize import synthesize
from worldstream.worlds.wan.world import OpenOptions, OpenWorld, load_open_world

SMALL = OpenOptions(width_px=64, height_px=48, device="cuda")
OPTIONS = (
    SMALL,
    replace(SMALL, engine="eager"),
    replace(SMALL, engine="cuda", fused_commit=True),
    replace(SMALL, precision="fp8"),
    replace(SMALL, precision="fp8-compute"),
    replace(SMALL, decoder="vae"),
)
TURN, WORDS = Action(forward_m=1.0, yaw_rad=0.2), Action(prompt="a snowy forest")


def played(world: OpenWorld) -> int:
    """Frames of a walk past its window, with all that may happen on the way."""
    picture = np.full((48, 64, 3), 90, np.uint8) if "picture" in world.controls else None
    one, two = world.rollout(), world.rollout()
    one.reset(3, "a red forest", picture)
    two.reset(4, "a red forest")
    count = 0
    for i in range(world.model.window // world.model.preset.block + 5):
        count += len(checked(one.step(WORDS if i == 4 and "words" in world.controls else TURN)))
        count += len(checked(two.step(TURN, decode=i % 2 == 0)))
    kept = one.snapshot()
    count += len(checked(one.ahead([TURN] * 3)))
    one.restore(kept)
    count += sum(len(checked(one.step(TURN))) for _ in range(3))
    one.reset(5, "a grey forest")
    return count + len(checked(one.step(TURN)))


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        data = Path(place)
        for name in sorted(set(LIVE) & set(FAMILIES)):
            synthesize(FAMILIES[name], data / "checkpoints" / name)
            card: ModelCard = catalogue.add([data / "checkpoints" / name], data, name=name)
            for options in OPTIONS:
                world = load_open_world(card, data, options)
                print(f"{name}, {world.engine}, {options.precision}: {played(world)} frames", flush=True)


if __name__ == "__main__":
    main()
