"""Larger pictures: doubled by a small network until they are large enough, then brought to the exact size.

`sharpen`, `detail` and `grain` are finishing touches at the final size, each from 0 (nothing) to 1, each a real filter:
edges steeper without halos, the contrast of fine texture raised, and film grain that differs in every frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .limits import LIMITS, DeliveryError, Limits
from .scaling import cropped
from .upscaler import REACH, Upscaler

TILE = 256  # pixels of the small picture that are doubled at once: memory stays flat
MOST_FACTOR = 16
Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to a picture at its final size; each in [0, 1]."""

    sharpen: float = 0.0
    detail: float = 0.0
    grain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sharpen", "detail", "grain"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise DeliveryError(f"{name} must be in [0, 1], got {value}")


def target_size(
    have: tuple[int, int], factor: float | None, size: tuple[int, int] | None, limits: Limits = LIMITS
) -> tuple[int, int]:
    """(width, height) of what is made of `have`, by a factor or a size, 2 times where neither is given.

    Raises DeliveryError on what is too large to make, or more than 16 times the source.
    """
    width, height = size or tuple(round(side * (factor or 2.0)) for side in have)
    if width < 1 or height < 1:
        raise DeliveryError(f"a picture cannot be {width} x {height} pixels")
    if max(width / have[0], height / have[1]) > MOST_FACTOR:
        raise DeliveryError(
            f"{have[0]} x {have[1]} to {width} x {height} is more than {MOST_FACTOR} times; ask for a smaller size"
        )
    if max(width, height) > limits.side_px or width * height > limits.pixels:
        raise DeliveryError(f"{width} x {height} pixels are too many to make; ask for a smaller size")
    return width, height


def doubled(rgb: Rgb, model: Upscaler) -> Rgb:
    """`[H, W, 3]` to `[2 H, 2 W, 3]`, tile by tile; the tiles overlap by as much as the network sees."""
    height, width = rgb.shape[:2]
    out = np.empty((2 * height, 2 * width, 3), np.uint8)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            up, back = max(0, top - REACH), max(0, left - REACH)
            part = rgb[up : bottom + REACH, back : right + REACH].copy()
            with torch.inference_mode():
                large = model(torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255)[0]
            large = large[:, 2 * (top - up) : 2 * (bottom - up), 2 * (left - back) : 2 * (right - back)]
            out[2 * top : 2 * bottom, 2 * left : 2 * right] = (
                (large * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            )
    return out


def upscaled(rgb: Rgb, width: int, height: int, model: Upscaler, finish: Finish | None = None, index: int = 0) -> Rgb:
    """`rgb` at exactly `[height, width, 3]`; cropped in the middle where the aspect is another one.

    `index` is the frame's number: the grain differs from frame to frame and is the same in every run.
    """
    part = cropped(rgb, width, height)
    while part.shape[0] < height or part.shape[1] < width:
        part = doubled(part, model)
    if part.shape[:2] != (height, width):
        part = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    part = np.ascontiguousarray(part)
    return part if finish is None else finished(part, finish, index)


def upscaled_film(
    frames: Iterable[Rgb], width: int, height: int, model: Upscaler, finish: Finish | None = None
) -> Iterator[Rgb]:
    """Frame after frame, as `upscaled`."""
    for index, rgb in enumerate(frames):
        yield upscaled(rgb, width, height, model, finish, index)


def finished(rgb: Rgb, finish: Finish, index: int = 0) -> Rgb:
    """The finishing touches on a picture `[H, W, 3]`."""
    if finish == Finish():
        return rgb
    exact = rgb.astype(np.float32)
    luma = exact @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    wanted = luma
    if finish.detail:
        wanted = wanted + np.float32(1.2 * finish.detail) * _texture(luma)
    if finish.sharpen:
        wanted = _sharpened(wanted, finish.sharpen)
    if finish.grain:
        wanted = wanted + _grain(luma, index) * np.float32(9.0 * finish.grain)
    return np.rint(exact + (wanted - luma)[..., None]).clip(0, 255).astype(np.uint8)


def _texture(luma: Floats) -> Floats:
    """Fine contrast without edges: what a guided filter (He et al. 2010) smooths away."""
    radius, edge = (9, 9), np.float32(12.0**2)
    mean = cv2.boxFilter(luma, -1, radius)
    spread = cv2.boxFilter(luma * luma, -1, radius) - mean * mean
    slope = spread / (spread + edge)
    smooth = cv2.boxFilter(slope, -1, radius) * luma + cv2.boxFilter(mean * (1 - slope), -1, radius)
    return cast(Floats, luma - smooth)


def _sharpened(luma: Floats, amount: float) -> Floats:
    """Unsharp masking that stays within the darkest and brightest of the neighbours: no halos."""
    sharp = luma + np.float32(2.0 * amount) * (luma - cv2.GaussianBlur(luma, (0, 0), 1.2))
    around = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(luma, around), cv2.dilate(luma, around)
    return cast(Floats, np.clip(sharp, low, high))


def _grain(luma: Floats, index: int) -> Floats:
    """Soft noise of about unit size, strongest in the mid-tones, as on film."""
    noise = np.random.default_rng([7, index]).standard_normal(luma.shape, np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.6) * np.float32(1.7)
    middle = 4 * (luma / 255) * (1 - luma / 255)
    return cast(Floats, soft * (np.float32(0.35) + np.float32(0.65) * middle))
