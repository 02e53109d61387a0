"""Pictures at another size."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Depth = TypeVar("Depth", np.uint8, np.uint16)
MOST_SIDE_PX = 16_384


def cropped(rgb: NDArray[Depth], width: int, height: int) -> NDArray[Depth]:
    """The largest middle part of `rgb` `[H, W, 3]` with the aspect of `width` to `height`; a view."""
    have_h, have_w = rgb.shape[:2]
    keep_w = min(have_w, max(1, round(have_h * width / height)))
    keep_h = min(have_h, max(1, round(have_w * height / width)))
    left, top = (have_w - keep_w) // 2, (have_h - keep_h) // 2
    return rgb[top : top + keep_h, left : left + keep_w]


def fitted(rgb: NDArray[Depth], width: int, height: int) -> NDArray[Depth]:
    """`rgb` `[H, W, 3]` at exactly `[height, width, 3]`: cropped in the middle to that aspect, then resampled.

    Smaller by area, larger by Lanczos. Raises ValueError on a size that is none.
    """
    if not (1 <= width <= MOST_SIDE_PX and 1 <= height <= MOST_SIDE_PX):
        raise ValueError(f"a picture is 1 to {MOST_SIDE_PX} pixels wide and high, got {width} x {height}")
    part = cropped(rgb, width, height)
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    shrinks = part.shape[0] >= height and part.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=how), rgb.dtype)
