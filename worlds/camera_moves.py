"""Named camera moves as velocities, and their compilation to one action a frame.

The names are those of the film trade: dolly (towards or away), truck (sideways), pedestal (up and down), pan, tilt,
roll, orbit (sideways around what is ahead), crane (up while looking down), zoom (the lens, not the camera), handheld,
static. What a world's camera cannot do is left out, and said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .core import Action

ORBIT_M = 6.0  # distance of what an orbit goes around
EASE_S = 0.3  # a move gathers speed and comes to rest over this long
SHAKE_RAD, SHAKE_HZ = math.radians(0.6), (0.7, 1.9, 3.1)


@dataclass(frozen=True, slots=True)
class Velocity:
    """A camera's motion in its own frame, per second: metres, radians; zoom as the logarithm of focal length."""

    right: float = 0.0
    up: float = 0.0
    forward: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    zoom: float = 0.0

    def scaled(self, factor: float) -> Velocity:
        return Velocity(*(factor * getattr(self, f.name) for f in fields(self)))


_PAN, _TILT, _ROLL, _WALK, _ZOOM = math.radians(24.0), math.radians(7.0), math.radians(15.0), 2.5, 0.25
MOVES: dict[str, Velocity] = {
    "static": Velocity(),
    "dolly in": Velocity(forward=_WALK),
    "dolly out": Velocity(forward=-_WALK),
    "truck left": Velocity(right=-_WALK),
    "truck right": Velocity(right=_WALK),
    "pedestal up": Velocity(up=1.0),
    "pedestal down": Velocity(up=-1.0),
    "pan left": Velocity(yaw=-_PAN),
    "pan right": Velocity(yaw=_PAN),
    "tilt up": Velocity(pitch=_TILT),
    "tilt down": Velocity(pitch=-_TILT),
    "roll left": Velocity(roll=-_ROLL),
    "roll right": Velocity(roll=_ROLL),
    "orbit left": Velocity(right=-_WALK, yaw=_WALK / ORBIT_M),
    "orbit right": Velocity(right=_WALK, yaw=-_WALK / ORBIT_M),
    "crane up": Velocity(up=1.5, pitch=-_TILT),
    "crane down": Velocity(up=-1.5, pitch=_TILT),
    "zoom in": Velocity(zoom=_ZOOM),
    "zoom out": Velocity(zoom=-_ZOOM),
    "handheld": Velocity(),
}


@dataclass(frozen=True, slots=True)
class Move:
    """One named move over a stretch of time. `speed` multiplies the usual one."""

    name: str  # a key of MOVES
    start_s: float
    end_s: float
    speed: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in MOVES:
            raise ValueError(f"there is no camera move {self.name!r}; use {', '.join(MOVES)}")
        if not 0.0 <= self.start_s < self.end_s:
            raise ValueError(f"{self.name}: its end, {self.end_s:g} s, must come after its start, {self.start_s:g} s")
        if not (math.isfinite(self.speed) and 0.0 < self.speed <= 10.0):
            raise ValueError(f"{self.name}: the speed must be above 0 and at most 10, got {self.speed}")


@dataclass(frozen=True, slots=True)
class Rig:
    """What a world's camera can do. `None`: it cannot."""

    max_step_m: float
    max_turn_rad: float
    max_pitch_rad: float  # from level, up and down
    up: bool = False
    roll: bool = False
    zoom: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """One action a frame, and what could not be done as asked."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...]


def compiled(moves: tuple[Move, ...], duration_s: float, fps: float, rig: Rig, seed: int = 0) -> Track:
    """One action a frame for `duration_s` at `fps`, each the motion into its frame. Moves that overlap add up.

    Raises ValueError when a move ends after `duration_s`.
    """
    for move in moves:
        if move.end_s > duration_s + 1e-6:
            raise ValueError(f"{move.name} ends at {move.end_s:g} s, after the clip's {duration_s:g} s")
    times = np.arange(1, max(1, round(duration_s * fps)) + 1) / fps
    way = np.zeros((len(times), 7))
    notes: list[str] = []
    for move in moves:
        velocity, missing = _possible(MOVES[move.name], rig)
        if missing:
            notes.append(f"{move.name}: this world's camera has no {missing}; it is left out")
        length = move.end_s - move.start_s
        travelled = length * move.speed * _eased((times - move.start_s) / length, min(0.5, EASE_S / length))
        way += travelled[:, None] * np.array([getattr(velocity, f.name) for f in fields(velocity)])
        if move.name == "handheld":
            way[:, 3:5] += move.speed * _shake(times, move, seed)
    steps = np.diff(way, axis=0, prepend=0.0)
    return _within(steps, rig, notes)


def _possible(velocity: Velocity, rig: Rig) -> tuple[Velocity, str]:
    """The part that the rig can do, and the names of what it cannot."""
    cannot = [name for name in ("up", "roll", "zoom") if getattr(velocity, name) and not getattr(rig, name)]
    kept = {f.name: 0.0 if f.name in cannot else getattr(velocity, f.name) for f in fields(velocity)}
    named = {"up": "height of its own", "roll": "roll", "zoom": "zoom"}
    return Velocity(**kept), " and no ".join(named[name] for name in cannot)


def _eased(share: NDArray[np.float64], ease: float) -> NDArray[np.float64]:
    """Distance covered, 0 to 1, at a share of the time: speed rises and falls linearly over `ease` at the ends."""
    x = np.clip(share, 0.0, 1.0)
    top = 1.0 / (1.0 - ease)
    begun = 0.5 * top / ease * x**2
    ended = 1.0 - 0.5 * top / ease * (1.0 - x) ** 2
    steady = top * (x - 0.5 * ease)
    out: NDArray[np.float64] = np.where(x < ease, begun, np.where(x > 1.0 - ease, ended, steady))
    return out


def _shake(times: NDArray[np.float64], move: Move, seed: int) -> NDArray[np.float64]:
    """A hand's sway in yaw and pitch, `[T, 2]` radians: a few sines, from rest to rest."""
    rng = np.random.default_rng(seed)
    inside = np.clip(np.minimum(times - move.start_s, move.end_s - times) / EASE_S, 0.0, 1.0)
    sway = np.zeros((len(times), 2))
    for hertz in SHAKE_HZ:
        phase, amount = rng.uniform(0, 2 * math.pi, 2), SHAKE_RAD / hertz
        sway += amount * np.sin(2 * math.pi * hertz * times[:, None] + phase)
    out: NDArray[np.float64] = sway * inside[:, None]
    return out


def _within(steps: NDArray[np.float64], rig: Rig, notes: list[str]) -> Track:
    """Actions within the rig's limits; what is cut off is said once."""
    actions, pitch, cut = [], 0.0, set()
    for right, up, forward, yaw, tilt, _, _ in steps.tolist():
        length = math.hypot(right, forward)
        k = min(1.0, rig.max_step_m / length) if length else 1.0
        turn = min(rig.max_turn_rad, max(-rig.max_turn_rad, yaw))
        level = min(rig.max_pitch_rad, max(-rig.max_pitch_rad, pitch + tilt))
        cut |= {"fast a step"} if k < 1.0 else set()
        cut |= {"fast a turn"} if turn != yaw else set()
        cut |= {"high or low a look"} if abs(level - pitch - tilt) > 1e-9 else set()
        actions.append(Action(right * k, up, forward * k, turn, level - pitch))
        pitch = level
    notes += [f"too {what} for this world: it goes as far as it can" for what in sorted(cut)]
    return Track(tuple(actions), tuple(dict.fromkeys(notes)))
