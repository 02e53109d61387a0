"""The nouns of the model: what goes in, what is remembered, what comes out. Read this file first.

One *chunk* is what the network draws at once (one video frame for the embedded worlds). An `Action` says what the
player did during that chunk. The rollout (rollout.py) turns it and the prompt into tensors (conditioning.py), the
sampler (sampler.py) runs the network over them and noise until clean latents are left, and the decoder (autoencoder.py)
makes `Frame`s of those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CONTROLS = ("walk", "look", "words", "picture")  # move, turn, new words on the way, begin from a picture
KEYS = ("forward", "back", "left", "right", "turn_left", "turn_right", "look_up", "look_down")


@dataclass(frozen=True, slots=True)
class Action:
    """What one player did during one chunk. Frozen, no tensors.

    Translations are in metres in the walker's own frame (x right, y up, z forward), rotations in radians; all of them
    are the motion *into* what is drawn next. Raises ValueError on a number that is not finite.
    """

    right_m: float = 0.0
    up_m: float = 0.0
    forward_m: float = 0.0
    yaw_rad: float = 0.0  # positive turns right
    pitch_rad: float = 0.0  # positive looks up
    keys: frozenset[str] = frozenset()  # a subset of KEYS, for logs and overlays only
    prompt: str | None = None  # set in the chunk where the prompt changes, else None
    input_id: int = 0  # the newest client input that this action contains; 0 = none yet
    input_time_s: float = 0.0  # when that input reached the server, in the server's monotonic clock

    def __post_init__(self) -> None:
        for name in ("right_m", "up_m", "forward_m", "yaw_rad", "pitch_rad", "input_time_s"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"Action.{name} must be a finite number, got {value}")
        if not self.keys <= set(KEYS):
            raise ValueError(f"Action.keys may hold {', '.join(KEYS)}; got {sorted(self.keys - set(KEYS))}")


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the eye is: metres and radians in world coordinates (x east, y up, z north)."""

    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0
    yaw_rad: float = 0.0  # 0 looks north, positive turns right
    pitch_rad: float = 0.0  # positive looks up

    def moved(self, action: Action) -> Camera:
        """The pose after `action`: turn first, then walk along the new heading."""
        yaw = self.yaw_rad + action.yaw_rad
        sin, cos = math.sin(yaw), math.cos(yaw)
        return Camera(
            self.x_m + action.right_m * cos + action.forward_m * sin,
            self.y_m + action.up_m,
            self.z_m - action.right_m * sin + action.forward_m * cos,
            yaw,
            self.pitch_rad + action.pitch_rad,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture for the screen."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    index: int  # 0 is the first frame after a reset
    media_time_s: float
    input_id: int  # the newest input that this frame answers
    stages_ms: dict[str, float] = field(default_factory=dict)  # time spent per stage: condition, denoise, decode
    drift: str = "fine"  # or "straying", "lost": how far the walk is from the world that was asked for
    reanchored: int = 0  # how often it was brought back since the reset
    i420: NDArray[np.uint8] | None = None  # rgb as an encoder's planes [H * 3 / 2, W], where the device made them


@dataclass(frozen=True, slots=True)
class Sight:
    """What a world makes of a picture that it could begin from."""

    caption: str  # what it shows, in words of the prompts
    confidence: float  # that the caption's first words, the theme, are right; in [0, 1]
    distance: float  # from the pictures that the model was trained on; above 1 is far

    @property
    def familiar(self) -> bool:
        return self.distance <= 1.0


class World(Protocol):
    """A model that is loaded and ready; `worlds.library.load_any_world` makes one. Shared by all rollouts: what changes
    while somebody walks is in a `Player`, which `rollout` makes."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str:
        """Of the weights: an action log draws the same walk again only with these."""
        ...

    @property
    def width_px(self) -> int: ...
    @property
    def height_px(self) -> int: ...
    @property
    def engine(self) -> str: ...
    @property
    def steps(self) -> int:
        """Denoising passes of a chunk. `with_steps` gives the same world at another number that it was trained for."""
        ...

    @property
    def fps(self) -> float: ...
    @property
    def frames_per_step(self) -> int:
        """Frames that a step draws at once; the very first step may draw fewer."""
        ...

    @property
    def controls(self) -> tuple[str, ...]:
        """What a player can do, of CONTROLS."""
        ...

    @property
    def themes(self) -> tuple[str, ...]: ...
    @property
    def max_step_m(self) -> float:
        """How far one step can lead; likewise `max_turn_rad`."""
        ...

    @property
    def max_turn_rad(self) -> float: ...
    def understood(self, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that mean something to the model."""
        ...

    def rollout(self) -> Player: ...
    def viewer(self) -> Viewer: ...
    def with_steps(self, steps: int) -> World: ...


class Viewer(Protocol):
    """Looks at pictures for a world. Not thread-safe: one thread owns it."""

    def look(self, rgb: NDArray[np.uint8]) -> Sight:
        """`rgb` is `[H, W, 3]` at the world's size."""
        ...


class Player(Protocol):
    """What `realtime/` needs of a rollout. Not thread-safe: one thread owns it."""

    def reset(self, seed: int, prompt: str, image: NDArray[np.uint8] | None = None) -> None:
        """`image` is `[H, W, 3]` at the world's size: the first frame, where there is one."""
        ...

    def step(self, action: Action, decode: bool = True) -> Iterator[Frame]:
        """Draw the next chunk; its frames come as they are decoded. To be read to its end."""
        ...

    def snapshot(self) -> Any:
        """A copy of all that the next chunk depends on; only `restore`, of any player of this world, looks into it."""
        ...

    def restore(self, state: Any) -> None: ...
