"""Single pictures: what the model draws first for some words, at any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from .clip_pictures import Picture, Reference, Window, window
from .clip_words import Words, read_words
from .clips import references
from .core import Action, World
from .media.scaling import fitted
from .media.upscaler import Upscaler
from .media.upscaling import doubled

MOST_PICTURES, MOST_SIDE_PX = 10, 8256  # the longest side that the contract names
SETTLING = (
    8  # steps of standing still: the sharpest of these frames is sharper than the first, and as true to the words
)
DOUBLINGS = 2  # by the network of media/upscaler.py; what is larger still is resampled


@dataclass(frozen=True, slots=True)
class StillRequest:
    """What is asked for. Raises ValueError on numbers that make no picture."""

    prompt: str
    width_px: int
    height_px: int
    seed: int = 0
    count: int = 1
    references: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_PICTURES:
            raise ValueError(f"there are 1 to {MOST_PICTURES} pictures to a request, got {self.count}")
        if not 0 <= self.seed < (1 << 63) - MOST_PICTURES:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")
        if not (16 <= self.width_px <= MOST_SIDE_PX and 16 <= self.height_px <= MOST_SIDE_PX):
            raise ValueError(f"a side has 16 to {MOST_SIDE_PX} pixels, got {self.width_px} x {self.height_px}")


@dataclass(frozen=True, slots=True)
class StillPlan:
    """Everything that the pictures depend on, beside the world."""

    request: StillRequest
    prompt: str
    window: Window
    notes: tuple[str, ...]


def planned(world: World, request: StillRequest) -> StillPlan:
    """Raises ValueError (ImageError on a reference), or OSError."""
    part = window(world.width_px, world.height_px, request.width_px, request.height_px)
    notes: list[str] = []
    given = references(world, request.references, part, notes)
    words: Words = read_words(request.prompt, 1.0, references=given, limited=bool(world.themes))
    said = [*notes, *(note for note in words.notes if not note.startswith("camera, "))]
    scale = max(request.width_px / part.width, request.height_px / part.height)
    if scale > 1.0:
        said.append(f"drawn at {part.width} x {part.height} pixels and enlarged {scale:.1f} times: no finer than that")
    return StillPlan(request, words.prompt, part, tuple(dict.fromkeys(said)))


def drawn(world: World, plan: StillPlan) -> Iterator[Picture]:
    """The pictures at the world's size, cropped to what is shown: seed, seed + 1, …"""
    rollout = world.rollout()
    for i in range(plan.request.count):
        rollout.reset(plan.request.seed + i, plan.prompt)
        settling = [frame.rgb for _ in range(SETTLING) for frame in rollout.step(Action())]
        yield np.ascontiguousarray(plan.window.of(max(settling, key=sharpness)))


def sharpness(rgb: Picture) -> float:
    """Mean difference of neighbouring pixels, 0 to 255."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def sized(plan: StillPlan, rgb: Picture, upscaler: Upscaler) -> Picture:
    """At the size that was asked for."""
    for _ in range(DOUBLINGS):
        if rgb.shape[1] < plan.request.width_px and rgb.shape[0] < plan.request.height_px:
            rgb = doubled(rgb, upscaler)
    return fitted(rgb, plan.request.width_px, plan.request.height_px)


def facts(world: World, plan: StillPlan) -> Mapping[str, Any]:
    """JSON values for a task's metadata."""
    r = plan.request
    return {
        "seed": r.seed, "width": r.width_px, "height": r.height_px, "pictures": r.count, "prompt": plan.prompt,
        "notes": list(plan.notes), **plan.window.facts(world.width_px, world.height_px, r.width_px, r.height_px),
    }  # fmt: skip
