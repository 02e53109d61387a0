"""Worlds from a prompt alone: theme, time of day and weather as the judge reads them in the first frame and after a
walk, beside what it reads in true renders of the same attributes; and the contact sheet."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..conditioning import path_vectors
from ..judge import Judge, judged_size
from ..procedural.attributes import THEMES, TIMES, WEATHERS, Attributes
from ..procedural.episodes import draw_attributes
from ..procedural.paths import FORWARD, RIGHT, YAW
from ..procedural.paths import Path as Walk
from .likeness import Reading, Readings
from .playing import Model, captions, walk_batch
from .sheets import write_labelled
from .truth import WalkBatch, World, decoded, rebuilt, true_walks

FIRST_WORLD = 600_000
NAMES = ("theme", "time", "weather")
CONTACT = (
    "a misty forest at dawn", "a clear desert at golden hour", "a neon city at night",
    "snowy pines on a cloudy morning", "a dungeon", "ocean cliffs under a clear noon sky",
    "a hazy canyon at dusk", "an overcast autumn forest at noon", "moonlit ruins at night, clear",
    "a tropical island on a clear morning", "a suburban town at dusk, cloudy", "a foggy alien planet at dawn",
)  # fmt: skip


def prompt_of(a: Attributes) -> str:
    """Theme, time and weather in plain words."""
    return f"{THEMES[a.theme]}, {TIMES[a.time]}, {WEATHERS[a.weather]}"


def drawn_attributes(themes: Sequence[int], each: int) -> list[Attributes]:
    """`each` places a theme; times and weathers in turn from a shuffled start, so that all come equally often."""
    rng = random.Random(11)
    out = []
    for i, theme in enumerate(theme for theme in themes for _ in range(each)):
        a = draw_attributes(rng, theme)
        time, weather = i % len(TIMES), (i // len(TIMES) + i) % len(WEATHERS)
        out.append(Attributes(theme, time, weather, a.mood, a.density, a.relief, a.variety))
    return out


def first_walk(frames: int) -> Walk:
    """Ahead, with a turn of 90 degrees to the right on the way."""
    path = np.zeros((frames, 4), np.float32)
    path[:, FORWARD], path[40:70, YAW] = 0.3, math.radians(3)
    return path


def right(judge: Judge, pictures: Tensor, wanted: Sequence[Attributes]) -> list[float]:
    """Share of pictures `[N, 3, H, W]` whose theme, time and weather the judge reads as wanted."""
    truth = torch.tensor([[a.theme, a.time, a.weather] for a in wanted]).T
    read = judge.read(judged_size(pictures))[:3]
    return [float((logits.argmax(-1) == t).float().mean()) for logits, t in zip(read, truth, strict=True)]


@torch.no_grad()
def adherence(
    model: Model,
    judge: Judge,
    themes: tuple[int, ...] = tuple(range(len(THEMES))),
    each: int = 8,
    walked: int = 4,
    frames: int = 100,
    walk: WalkBatch = walk_batch,
) -> Readings:
    """The first frames of `each` prompts a theme, and the last ones of walks through the first `walked` of them."""
    wanted = drawn_attributes(themes, each)
    far = [i for i in range(len(wanted)) if i % each < walked]
    near = [i for i in range(len(wanted)) if i % each >= walked]
    path = first_walk(frames)
    found: Readings = {}

    def ends(chosen: Sequence[int], length: int) -> Tensor:
        """First and last picture of walks of `length` frames, `[N, 2, 3, H, W]`."""
        words = captions(model, [prompt_of(wanted[i]) for i in chosen])
        actions = path_vectors(torch.from_numpy(path[:length])).expand(len(chosen), -1, -1)
        latents = walk(model, None, actions, words, torch.Generator().manual_seed(length))
        return decoded(model, latents[:, [0, length - 1]], 1)

    both = ends(far, frames)
    first, last = both[:, 0], both[:, 1]
    if near:
        first = torch.cat([first, ends(near, 1)[:, 0]])
    worlds = [World(FIRST_WORLD + i, a.theme, a) for i, a in enumerate(wanted)]
    walks = true_walks(model, worlds, [path] * len(worlds), frames, (0, frames - 1))
    true = rebuilt(model, walks.at((0, frames - 1)), 1)
    order = far + near
    rows = {
        "first frame": (first, true[order, 0], [wanted[i] for i in order]),
        f"frame {frames}": (last, true[far, 1], [wanted[i] for i in far]),
    }
    for moment, (pictures, real, asked) in rows.items():
        for name, own, ceiling in zip(NAMES, right(judge, pictures, asked), right(judge, real, asked), strict=True):
            found[f"prompt adherence, {moment}: {name}"] = Reading(own, "", ceiling)
    return found


def contact_path() -> tuple[Walk, tuple[int, ...]]:
    """160 frames: ahead, a left turn of 90 degrees, ahead, the turn back, sideways; and the eight moments shown."""
    path = np.zeros((160, 4), np.float32)
    path[:40, FORWARD] = path[70:100, FORWARD] = 0.3
    path[40:70, YAW], path[100:130, YAW] = -math.radians(3), math.radians(3)
    path[130:, RIGHT] = 0.3
    return path, (0, 20, 39, 54, 69, 99, 129, 159)


@torch.no_grad()
def contact_sheet(
    model: Model, sheet: Path, prompts: Sequence[str] = CONTACT, frames: int = 160, walk: WalkBatch = walk_batch
) -> None:
    """Write twelve prompts by eight moments of one scripted walk, seed 1; `frames` cuts the walk short."""
    path, shown = contact_path()
    moments = [m for m in shown if m < frames]
    actions = path_vectors(torch.from_numpy(path[:frames])).expand(len(prompts), -1, -1)
    latents = walk(model, None, actions, captions(model, list(prompts)), torch.Generator().manual_seed(1))
    write_labelled(sheet, list(decoded(model, latents[:, moments])), list(prompts), [f"frame {m}" for m in moments])
