"""Edits by example: frames of the film that somebody has changed, each for a stretch of time.

At its own moment a keyframe is shown as it is. Around it, the colours follow it (a `ColourGrid` fitted from the
source's frame to the keyframe) over all of its range, smoothly from one keyframe to the next; what it shows that no
colour map explains is carried along the optical flow for as long as the flow can be believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .edit_grid import ColourGrid, fitted, identity, within
from .edit_masks import Picture

FADE_S = 0.4  # in which a look comes and goes at the ends of its range
CARRY_S = 0.8  # for which things that a keyframe adds are carried along
FLOW_PX = 320
FIT_PX = 256


@dataclass(frozen=True, slots=True)
class Keyframe:
    """`rgb` `[H, W, 3]` is how the frame at `at_s` should look; its look holds from `start_s` to `end_s`. Raises
    ValueError where the range does not hold its moment."""

    rgb: Picture
    at_s: float
    start_s: float = 0.0
    end_s: float = 1e9

    def __post_init__(self) -> None:
        if not self.start_s <= self.at_s <= self.end_s:
            raise ValueError(
                f"a keyframe at {self.at_s:g} s must lie in its range, {self.start_s:g} to {self.end_s:g} s"
            )


@dataclass(slots=True)
class Known:
    """A keyframe beside the source's frame of its moment."""

    keyframe: Keyframe
    index: int  # of the source's frame
    shot: int
    grid: ColourGrid
    rest: NDArray[np.int16]  # what the grid leaves unexplained, [H, W, 3]
    grey: Picture  # the source's frame, small


def known(keyframe: Keyframe, source: Picture, index: int, shot: int) -> Known:
    """Both pictures have one size."""
    grid = fitted(within(source, FIT_PX), within(keyframe.rgb, FIT_PX))
    rest = keyframe.rgb.astype(np.int16) - grid.applied(source).astype(np.int16)
    return Known(keyframe, index, shot, grid, rest, _grey(source))


def shares(keyframes: Sequence[Keyframe], at_s: float) -> tuple[list[float], float]:
    """(how much each look counts at a moment, adding up to 1 or all 0; how much of any look there is, in [0, 1])."""
    alive = [_alive(k, at_s) for k in keyframes]
    weights = [a / (abs(at_s - k.at_s) + 1e-6) ** 2 for a, k in zip(alive, keyframes, strict=True)]
    total = sum(weights)
    return ([w / total for w in weights] if total > 0 else [0.0] * len(weights)), max(alive, default=0.0)


def _alive(k: Keyframe, at_s: float) -> float:
    """1 within its range, 0 outside, smooth at the ends; 1 at its own moment wherever that lies."""
    if not k.start_s <= at_s <= k.end_s:
        return 0.0
    before, after = min(FADE_S, k.at_s - k.start_s), min(FADE_S, k.end_s - k.at_s)
    rising = 1.0 if before <= 0 else smooth((at_s - k.start_s) / before)
    falling = 1.0 if after <= 0 else smooth((k.end_s - at_s) / after)
    return min(rising, falling)


def smooth(x: float) -> float:
    """0 to 1, gently at both ends."""
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


@dataclass(slots=True)
class Guided:
    """Frames between keyframes."""

    keys: Sequence[Known]
    fps: float
    _flow: object = field(default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))

    def frame(self, picture: Picture, index: int, shot: int, other: ColourGrid | None = None) -> Picture:
        """The frame `[H, W, 3]` as the keyframes have it; where none reaches, in the colours of `other`."""
        at_s = index / self.fps
        exact = {k.index: k for k in self.keys}.get(index)
        if exact is not None:
            return exact.keyframe.rgb
        here = [k for k in self.keys if k.shot == shot] or list(self.keys)
        weights, much = shares([k.keyframe for k in here], at_s)
        base = identity() if other is None else other
        if much <= 0:
            return base.applied(picture) if other is not None else picture
        look = sum((w * k.grid.cells for w, k in zip(weights, here, strict=True)), 0 * base.cells)
        out = base.mixed(ColourGrid(look), much).applied(picture)
        for k, weight in zip(here, weights, strict=True):
            carried = smooth(1 - abs(at_s - k.keyframe.at_s) / CARRY_S) * much
            if k.shot == shot and carried * weight > 0.01:
                out = self._carried(out, picture, k, carried * min(1.0, 2 * weight))
        return out

    def _carried(self, out: Picture, picture: Picture, k: Known, share: float) -> Picture:
        """With what the keyframe adds, where it has moved to."""
        where, sure = self._moved(_grey(picture), k.grey)
        height, width = picture.shape[:2]
        scale = np.array([width / where.shape[1], height / where.shape[0]], np.float32)
        full = cv2.resize(where * scale, (width, height), interpolation=cv2.INTER_LINEAR)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        rest = cv2.remap(k.rest, x + full[..., 0], y + full[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        trust = share * cv2.resize(sure, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        return np.asarray((out + trust * rest + 0.5).clip(0, 255), np.uint8)

    def _moved(self, now: Picture, then: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(where each point of now was then, `[h, w, 2]` in pixels; how sure that is, `[h, w]` in [0, 1])."""
        there = self._flow.calc(now, then, np.empty(0, np.float32))  # type: ignore[attr-defined]
        back = self._flow.calc(then, now, np.empty(0, np.float32))  # type: ignore[attr-defined]
        height, width = now.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        again = cv2.remap(back, x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR)
        apart = np.linalg.norm(there + again, axis=-1)
        return there, cv2.blur(np.exp(-np.square(apart / 2.0)).astype(np.float32), (7, 7))


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(within(picture, FLOW_PX), cv2.COLOR_RGB2GRAY), np.uint8)


def moments(keyframes: Sequence[Keyframe], fps: float, count: int) -> Mapping[int, Keyframe]:
    """The source's frame that each keyframe stands for. Raises ValueError on two for one frame, or past the end."""
    out: dict[int, Keyframe] = {}
    for k in keyframes:
        index = round(k.at_s * fps)
        if not 0 <= index <= count:
            raise ValueError(f"a keyframe lies at {k.at_s:g} s, and the video ends at {count / fps:g} s")
        index = min(index, count - 1)
        if index in out:
            raise ValueError(f"two keyframes lie at {k.at_s:g} s; keep one of them")
        out[index] = k
    return out
