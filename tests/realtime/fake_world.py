"""A deterministic world without a model: a moving gradient whose colours depend on the action. For tests only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from worldstream.worlds.core import CONTROLS, Action, Camera, Frame, Player, Sight, Viewer


@dataclass(frozen=True)
class FakeWorld:
    """Takes `draw_s` per frame and step: really, or on a virtual clock, as `wait` decides."""

    width_px: int = 320
    height_px: int = 192
    fps: float = 24.0
    steps: int = 2
    draw_s: float = 0.0
    wait: Callable[[float], None] = time.sleep
    name: str = "fake"
    sha256: str = "f" * 64
    engine: str = "none"
    themes: tuple[str, ...] = ("forest", "desert")
    frames_per_step: int = 1
    controls: tuple[str, ...] = CONTROLS
    max_step_m: float = 0.4
    max_turn_rad: float = 0.2
    fail_prompt: str = "please fail"  # a prompt that breaks the model

    def understood(self, prompt: str) -> tuple[str, ...]:
        return tuple(theme for theme in self.themes if theme in prompt)

    def rollout(self) -> Player:
        return FakePlayer(self)

    def viewer(self) -> Viewer:
        return FakeViewer()

    def with_steps(self, steps: int) -> FakeWorld:
        return replace(self, steps=steps)


class FakeViewer:
    """A forest where green is strongest, else a desert; what is blue is far from all it knows."""

    def look(self, rgb: NDArray[np.uint8]) -> Sight:
        red, green, blue = rgb.mean((0, 1))
        return Sight("forest" if green >= red else "desert", 0.75, float(2.0 * blue / (red + green + blue + 1.0)) + 0.3)


class FakePlayer:
    """Green follows walking, red follows turning, blue the seed; or all of them do from a picture's colours on."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.camera = Camera()
        self.index = 0
        self.drawn = 0  # frames in all, over resets
        self.seed = 0
        self.prompts: list[str] = []
        x = np.arange(world.width_px)[None, :]
        y = np.arange(world.height_px)[:, None]
        self._ramp: NDArray[np.int64] = (x + 2 * y).astype(np.int64)
        self.image: NDArray[np.uint8] | None = None

    def reset(self, seed: int, prompt: str, image: NDArray[np.uint8] | None = None) -> None:
        if prompt == self.world.fail_prompt:
            raise RuntimeError("the fake world was asked to fail")
        self.image = image
        self.camera, self.index, self.seed, self.prompts = Camera(), 0, seed, [prompt]

    def step(self, action: Action, decode: bool = True) -> Iterator[Frame]:
        if self.world.draw_s > 0.0:
            self.world.wait(self.world.draw_s * self.world.steps)
        if action.prompt is not None:
            self.prompts.append(action.prompt)
        self.camera = self.camera.moved(action)
        for _ in range(self.world.frames_per_step):
            if decode:
                yield Frame(self._paint(), self.index, self.index / self.world.fps, action.input_id, {"denoise": 1.0})
            self.index += 1
            self.drawn += 1

    def _paint(self) -> NDArray[np.uint8]:
        if self.image is not None:
            moved = np.array([self.camera.yaw_rad * 100.0, (self.camera.x_m + self.camera.z_m) * 20.0, 0.0], np.int64)
            return ((self.image + moved) % 256).astype(np.uint8)
        drift = 3 * self.index
        red = self._ramp + drift + int(self.camera.yaw_rad * 100.0)
        green = self._ramp // 2 + int((self.camera.x_m + self.camera.z_m) * 20.0)
        blue = np.full_like(self._ramp, 40 + self.seed % 160)
        return (np.stack([red, green, blue], axis=-1) % 256).astype(np.uint8)

    def snapshot(self) -> tuple[Camera, int, int, NDArray[np.uint8] | None]:
        return self.camera, self.index, self.seed, self.image

    def restore(self, state: tuple[Camera, int, int, NDArray[np.uint8] | None]) -> None:
        self.camera, self.index, self.seed, self.image = state
