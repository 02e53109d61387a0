"""How each causal checkpoint is played: its schedule, its blocks and window, what a player can do in it.

The shapes, files and sizes of the same names are in `families.py`. Sources: the configuration files of
guandeh17/Self-Forcing, thu-ml/Causal-Forcing, NVlabs/LongLive v1.0 and SkyworkAI/Matrix-Game 2.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..core import Action
from .actions import ROWS_PER_LATENT, ActionConfig
from .schedule import Schedule

MOUSE = 0.1  # the mouse number of a steady turn, in the published demonstrations
TURN_RAD = math.radians(3.0)  # a frame, that we call a steady turn: what the turn keys ask for
STEP_M = 0.3  # a frame: a full step, as the keys make it
KEPT_STILL = 0.2  # share of a full step below which nobody meant to move


@dataclass(frozen=True, slots=True)
class Row:
    """What the model is told of one frame."""

    keyboard: tuple[float, ...]
    mouse: tuple[float, float] = (0.0, 0.0)  # pitch and yaw; positive looks up and turns right


@dataclass(frozen=True, slots=True)
class LivePreset:
    """One checkpoint in play. Lengths are in latent frames, four video frames each."""

    schedule: Schedule = Schedule()
    block: int = 3  # drawn at once
    sink: int = 0
    fps: float = 16.0
    controls: tuple[str, ...] = ("words",)
    recache: bool = False  # on new words the newest frames are shown to the cache again (LongLive)
    actions: ActionConfig | None = None
    row: Callable[[Action, float], Row] | None = None  # (action, frames that it spans) -> what the model is told

    @property
    def frames(self) -> int:
        """Video frames of a block; the first one has three fewer."""
        return ROWS_PER_LATENT * self.block


def _pressed(action: Action, frames: float) -> tuple[bool, bool, bool, bool]:
    """Forward, back, left, right: from what moves, so that sticks and camera paths count as keys do."""
    least = KEPT_STILL * STEP_M * frames
    ahead, aside = action.forward_m, action.right_m
    return ahead > least, ahead < -least, aside < -least, aside > least


def _mouse(action: Action, frames: float) -> tuple[float, float]:
    """Pitch and yaw, no more than a steady turn: what lies beyond, the model has hardly seen."""

    def number(rad: float) -> float:
        return MOUSE * max(-1.0, min(1.0, rad / frames / TURN_RAD))

    return number(action.pitch_rad), number(action.yaw_rad)


def universal(action: Action, frames: float) -> Row:
    """W, S, A, D and the mouse."""
    return Row(tuple(map(float, _pressed(action, frames))), _mouse(action, frames))


def gta_drive(action: Action, frames: float) -> Row:
    """W and S; A and D steer, as the mouse does."""
    forward, back, left, right = _pressed(action, frames)
    _, yaw = _mouse(action, frames)
    steered = yaw if yaw else MOUSE * (right - left)
    return Row((float(forward), float(back)), (0.0, steered))


def temple_run(action: Action, frames: float) -> Row:
    """One of: nothing, jump, slide, turn left, turn right, left side, right side."""
    forward, back, left, right = _pressed(action, frames)
    _, yaw = _mouse(action, frames)
    least = KEPT_STILL * MOUSE
    wanted = (forward, back, yaw < -least, yaw > least, left, right)
    first = next((i + 1 for i, holds in enumerate(wanted) if holds), 0)
    return Row(tuple(float(i == first) for i in range(7)))


_WORDS = LivePreset()
_GAME = Schedule((1000, 666, 333))
_WALKED = ("walk", "look", "picture")
_FIRST = Schedule().steps  # Causal-Forcing++ draws the first frame with all four
LIVE = {
    "self-forcing": _WORDS,
    "causal-forcing-chunkwise": _WORDS,
    "causal-forcing-framewise": LivePreset(block=1, controls=("words", "picture")),
    "causal-forcing-framewise-2step": LivePreset(
        Schedule((1000, 500), first_steps=_FIRST), block=1, controls=("words", "picture")
    ),
    "causal-forcing-framewise-1step": LivePreset(
        Schedule((1000,), first_steps=_FIRST), block=1, controls=("words", "picture")
    ),
    "longlive": LivePreset(sink=3, recache=True),
    "matrix-game-2-universal": LivePreset(
        _GAME, fps=25.0, controls=_WALKED, actions=ActionConfig(keyboard=4), row=universal
    ),
    "matrix-game-2-gta-drive": LivePreset(
        _GAME, fps=25.0, controls=_WALKED, actions=ActionConfig(keyboard=2, window=4), row=gta_drive
    ),
    "matrix-game-2-temple-run": LivePreset(
        fps=25.0, controls=_WALKED, actions=ActionConfig(keyboard=7, mouse=0), row=temple_run
    ),
}


def live(name: str) -> LivePreset:
    """Raises ValueError that lists the names: other checkpoints make clips and are not played."""
    if name not in LIVE:
        raise ValueError(f"{name!r} is not a live checkpoint; these are: {', '.join(LIVE)}")
    return LIVE[name]
