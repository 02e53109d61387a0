"""How the training walker moves: balanced keys, a wandering mouse, turns, idling, and walks that come back.

A path is `float32[frames, 4]`: right and forward in metres, yaw and pitch in radians, each the motion *into* its frame.
Balance matters more than realism: a model that saw mostly W learns only W.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float32]

MAX_STEP_M = 0.45
MAX_TURN_RAD = math.radians(6.0)
MAX_PITCH_RAD = math.radians(22.0)
RIGHT, FORWARD, YAW, PITCH = range(4)
KEY_SETS = (
    ((0, 1), 0.30), ((0, -1), 0.15), ((-1, 0), 0.14), ((1, 0), 0.14),
    ((-1, 1), 0.07), ((1, 1), 0.07), ((-1, -1), 0.03), ((1, -1), 0.03), ((0, 0), 0.07),
)  # fmt: skip


def _hold(rng: np.random.Generator, frames: int, shortest: int = 5, longest: int = 28) -> list[tuple[int, int]]:
    """Segments (start, stop) that cover the path."""
    spans, at = [], 0
    while at < frames:
        stop = min(frames, at + int(rng.integers(shortest, longest + 1)))
        spans.append((at, stop))
        at = stop
    return spans


def _keys(rng: np.random.Generator, frames: int) -> Path:
    path = np.zeros((frames, 4), np.float32)
    speed = rng.uniform(0.2, MAX_STEP_M * 0.96)
    shares = np.array([share for _, share in KEY_SETS])
    for start, stop in _hold(rng, frames):
        right, forward = KEY_SETS[rng.choice(len(KEY_SETS), p=shares / shares.sum())][0]
        step = speed / max(1.0, math.hypot(right, forward))
        path[start:stop, RIGHT], path[start:stop, FORWARD] = right * step, forward * step
    return path


def _mouse(rng: np.random.Generator, path: Path) -> None:
    """No mouse, a wandering one, or steady turns; pitch wanders and is pulled back to level."""
    frames, kind = len(path), rng.random()
    if kind < 0.25:
        return
    yaw = pitch = 0.0
    if kind < 0.6:  # Ornstein-Uhlenbeck
        spread = rng.uniform(0.6, 1.7)
        for i in range(frames):
            yaw = 0.88 * yaw + spread * math.radians(rng.normal())
            path[i, YAW] = yaw
    else:
        for start, stop in _hold(rng, frames, 6, 40):
            path[start:stop, YAW] = (
                math.radians(rng.choice([-1, 1]) * rng.uniform(1.0, 5.5)) if rng.random() < 0.75 else 0.0
            )
    if rng.random() < 0.5:
        level = 0.0
        for i in range(frames):
            pitch = 0.85 * pitch + 0.6 * math.radians(rng.normal()) - 0.03 * level
            level += pitch
            path[i, PITCH] = pitch


def _there_and_back(rng: np.random.Generator, frames: int) -> Path:
    """A full turn, or out and back, or look away and back: places come into view again."""
    path = np.zeros((frames, 4), np.float32)
    kind, half = rng.integers(3), frames // 2
    if kind == 0:
        path[:, YAW] = rng.choice([-1, 1]) * 2 * math.pi / rng.uniform(62, max(63, frames))
        path[:, FORWARD] = rng.choice([0.0, 0.25])
    elif kind == 1:
        axis = FORWARD if rng.random() < 0.6 else RIGHT
        path[:half, axis] = rng.choice([-1, 1]) * rng.uniform(0.2, 0.42)
        path[half : 2 * half, axis] = -path[:half, axis]
    else:
        turn = math.radians(rng.uniform(2, 5.5)) * rng.choice([-1, 1])
        path[:half, YAW], path[half : 2 * half, YAW] = turn, -turn
        path[:, FORWARD] = rng.choice([0.0, 0.0, 0.3])
    return path


def walk(rng: np.random.Generator, frames: int) -> Path:
    """One path: 55 % keys with mouse, 15 % turns on the spot, 8 % idle spells, 22 % there and back."""
    kind = rng.random()
    if kind < 0.55:
        path = _keys(rng, frames)
        _mouse(rng, path)
    elif kind < 0.70:
        path = np.zeros((frames, 4), np.float32)
        for start, stop in _hold(rng, frames, 8, 48):
            path[start:stop, YAW] = math.radians(rng.choice([-1, 1]) * rng.uniform(0.8, 5.8))
            if rng.random() < 0.4:
                path[start:stop, PITCH] = math.radians(rng.uniform(-1.8, 1.8))
    elif kind < 0.78:
        path = _keys(rng, frames)
        for start, stop in _hold(rng, frames, 10, 30):
            if rng.random() < 0.6:
                path[start:stop] = 0.0
    else:
        path = _there_and_back(rng, frames)
    for i in range(1, frames):  # a person's hand is not a step function, but nearly
        path[i] += 0.3 * (path[i - 1] - path[i])
    return limited(path)


def limited(path: Path) -> Path:
    """The path within the trained range: step length, turn rate, and the pitch that the steps add up to."""
    path = path.copy()
    step = np.hypot(path[:, RIGHT], path[:, FORWARD])
    path[:, :YAW] *= np.minimum(1.0, MAX_STEP_M / np.maximum(step, 1e-6))[:, None]
    path[:, YAW] = np.clip(path[:, YAW], -MAX_TURN_RAD, MAX_TURN_RAD)
    pitch = 0.0
    for row in path:
        new = min(MAX_PITCH_RAD, max(-MAX_PITCH_RAD, pitch + float(np.clip(row[PITCH], -MAX_TURN_RAD, MAX_TURN_RAD))))
        row[PITCH], pitch = new - pitch, new
    return path
