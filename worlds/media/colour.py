"""Colours as numbers: R'G'B' to the Y'CbCr planes that codecs take, at more than eight bits, with dither.

Sources: ITU-R BT.709-6 and BT.2020-2 (luma coefficients, narrow-range quantisation), BT.2100-3 (10 and 12 bits).
"""

from __future__ import annotations

from typing import cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_AROUND = (17, 17)  # pixels: the bands of a slow ramp are about as wide
LUMA = {"bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # weights of red and blue


def unit(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Floats:
    """`[H, W, 3]` integers to [0, 1]; eight bits are smoothed to the shades that they stand for."""
    if rgb.dtype == np.uint8:
        return debanded(cast(NDArray[np.uint8], rgb))
    return rgb.astype(np.float32) * np.float32(1 / 65535)


def debanded(rgb: NDArray[np.uint8]) -> Floats:
    """Eight bits to [0, 1] without their steps.

    A flat ramp of eight bits becomes a smooth one: every value is moved towards its neighbourhood's mean, but never by
    more than half a step, so that rounding gives the same eight bits again: nothing is lost and nothing invented.
    Where the neighbourhood spans more than a few steps there is no ramp, and the value stays as it is.
    """
    exact = rgb.astype(np.float32)
    mean = cv2.blur(exact, _AROUND, borderType=cv2.BORDER_REFLECT)
    square = np.ones(_AROUND, np.uint8)
    span = cv2.subtract(cv2.dilate(rgb, square), cv2.erode(rgb, square))
    ramp = np.clip(2 - span.astype(np.float32) / 3, 0, 1)  # all of it up to 3 steps, nothing from 6 on
    return cast(Floats, (exact + ramp * np.clip(mean - exact, -0.49, 0.49)) * np.float32(1 / 255))


class Dither:
    """Noise of less than one step, another in every frame, so that rounding leaves no bands. The same for every run."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._tile: Floats = np.zeros((0, 0), np.float32)

    def __call__(self, height: int, width: int) -> Floats:
        """`[height, width]` in [-0.5, 0.5): a random tile at a random place, which costs less than new numbers."""
        if self._tile.shape[0] < 2 * height or self._tile.shape[1] < 2 * width:
            small = self._random.random((min(256, 2 * height), min(256, 2 * width)), np.float32) - np.float32(0.5)
            rows, columns = -(-2 * height // small.shape[0]), -(-2 * width // small.shape[1])
            self._tile = np.tile(small, (rows, columns))
        top, left = (int(self._random.integers(0, size)) for size in (height, width))
        return self._tile[top : top + height, left : left + width]


def ycbcr(rgb: Floats, matrix: str) -> tuple[Floats, Floats, Floats]:
    """(Y' in [0, 1], Cb and Cr in [-0.5, 0.5]) of non-linear R'G'B' in [0, 1]; `matrix` of LUMA."""
    red, blue = LUMA[matrix]
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = cast(Floats, red * r + (1 - red - blue) * g + blue * b)
    return y, cast(Floats, (b - y) / (2 * (1 - blue))), cast(Floats, (r - y) / (2 * (1 - red)))


def subsampled(chroma: Floats, across: int, down: int) -> Floats:
    """Half the width (and height): sited with the left pixel, as H.264 and HEVC say by default (chroma type 0)."""
    if across == 2:
        padded = np.pad(chroma, ((0, 0), (1, 1)), mode="edge")
        right = padded[:, 2::2][:, : (chroma.shape[1] + 1) // 2]
        chroma = cast(Floats, (padded[:, 0:-2:2] + 2 * padded[:, 1:-1:2] + right) / 4)
    if down == 2:
        if chroma.shape[0] % 2:
            chroma = np.pad(chroma, ((0, 1), (0, 0)), mode="edge")
        chroma = cast(Floats, (chroma[0::2] + chroma[1::2]) / 2)
    return chroma


def frame_of(rgb: Floats, format: str, matrix: str, dither: Dither) -> av.VideoFrame:
    """A narrow-range frame of `format` (yuv420p10le, yuv444p12le, …) of non-linear R'G'B' `[H, W, 3]` in [0, 1]."""
    bits = 12 if format.endswith("12le") else 10
    scale = 1 << (bits - 8)
    across, down = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}[format[3:6]]
    height, width = rgb.shape[:2]
    frame = av.VideoFrame(width, height, format)
    y, cb, cr = ycbcr(rgb, matrix)
    noise = dither(height, width)
    luma = 16 * scale + 219 * scale * y + noise
    _fill(frame, 0, luma, scale)
    for plane, chroma in ((1, cb), (2, cr)):
        small = subsampled(chroma, across, down)
        _fill(frame, plane, 128 * scale + 224 * scale * small + dither(*small.shape), scale)
    return frame


def _fill(frame: av.VideoFrame, index: int, values: Floats, scale: int) -> None:
    """Rounded into the codes that are allowed: 1 to 254 of eight bits, and the finer ones between."""
    plane = frame.planes[index]
    codes = np.clip(np.rint(values), scale, 255 * scale - 1).astype("<u2")
    rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
    rows[:, : plane.width] = codes
    plane.update(rows.tobytes())
