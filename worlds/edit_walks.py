"""Frames that the source does not hold: a walk that goes another way through the same place.

It feeds the source to a rollout frame by frame, with the motion that was read from it, as if the model had drawn it:
history, cache and memory of places hold what was shown. Then the model draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .camera_moves import Rig, compiled
from .camera_text import parse
from .core import Action, Camera
from .edit_redraw import sized
from .edit_shots import Motion
from .memory import overlaps, pose_of
from .rollout import Rollout, RolloutState
from .weights import LoadedWorld

Picture = NDArray[np.uint8]
LEAST_SHOWN = 0.5  # share of the new view that the source must have shown


@dataclass(slots=True)
class Watched:
    """A rollout that has followed a video, and where the camera went."""

    rollout: Rollout
    cameras: list[Camera]


def watched(world: LoadedWorld, frames: Iterator[Picture], prompt: str, seed: int, motion: Motion) -> Iterator[Watched]:
    """Follow the frames of one shot; yields the same object after every frame."""
    rollout = world.rollout()
    rollout.reset(seed, prompt)
    motion.begin()
    seen = Watched(rollout, [])
    for picture in frames:
        action = motion.into(picture)
        rollout.follow(rollout.encoded(sized(world, picture)), action)
        seen.cameras.append(rollout.camera)
        yield seen


def moves(
    world: LoadedWorld, camera: str, seconds: float, fps: float, seed: int
) -> tuple[Sequence[Action], tuple[str, ...]]:
    """One action a frame for camera words, and what is not understood. Raises ValueError."""
    script = parse(camera, seconds)
    limits = Rig(world.max_step_m, world.max_turn_rad, world.config.max_pitch_rad)
    track = compiled(script.moves, seconds, fps, limits, seed)
    return track.actions, (*script.notes, *track.notes)


def shown_share(world: LoadedWorld, cameras: Sequence[Camera], here: Camera) -> float:
    """How much of the view from `here` was seen from any of `cameras`, in [0, 1]."""
    there = np.stack([pose_of(c) for c in cameras])
    config = world.config.network
    found = overlaps(pose_of(here), there, config.view_rad, config.rows / config.columns)
    return float(found.any(0).mean())


def led_to(camera: Camera, actions: Sequence[Action]) -> list[Camera]:
    """The poses along a walk from `camera`."""
    out = []
    for action in actions:
        camera = camera.moved(action)
        out.append(camera)
    return out


def back_at_start(first: RolloutState, end: RolloutState) -> RolloutState:
    """Where the video began, with everything that it showed in memory."""
    return replace(first, places=end.places, index=end.index)
