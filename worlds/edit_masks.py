"""Masks: which part of every frame is meant. A picture for all frames, or a film of masks beside the source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .image_header import read_header
from .media.pictures import read_picture
from .media.video_in import read_video

Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]  # [H, W] in [0, 1], 1 is inside
CHROMA_GREEN = (0, 177, 64)  # the green of studio screens, #00B140


def masks(path: Path, width: int, height: int) -> Iterator[Mask]:
    """One a frame, without end, at the source's size: white is inside. The last one stays.

    Raises MediaError, or OSError.
    """
    with path.open("rb") as file:
        header = read_header(file.read(1 << 16))
    if header is not None:
        still = _mask(read_picture(path), width, height)
        while True:
            yield still
    mask: Mask | None = None
    for frame in read_video(path).frames():
        mask = _mask(frame, width, height)
        yield mask
    while mask is not None:
        yield mask


def _mask(rgb: Picture, width: int, height: int) -> Mask:
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    if (grey.shape[1], grey.shape[0]) != (width, height):
        smaller = grey.shape[0] > height
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(grey * np.float32(1 / 255), np.float32)


def laid(over: Picture, under: Picture, mask: Mask) -> Picture:
    """`over` where the mask is 1, `under` where it is 0; exactly, and mixed between."""
    share = mask[..., None]
    mixed = under + share * (over.astype(np.float32) - under)
    return np.asarray(mixed + 0.5, np.float32).clip(0, 255).astype(np.uint8)


def feathered(mask: Mask, share: float = 0.002) -> Mask:
    """With a soft edge to the inside, as wide as `share` of the picture; what is outside stays 0."""
    width = max(1, round(share * max(mask.shape)))
    inside = cv2.erode((mask > 0.5).astype(np.float32), np.ones((2 * width + 1, 2 * width + 1), np.uint8))
    soft = np.asarray(cv2.blur(inside, (2 * width + 1, 2 * width + 1)), np.float32)
    return np.asarray(np.minimum(soft, mask), np.float32)


def green(picture: Picture, foreground: Mask) -> Picture:
    """The foreground over a green screen: exactly CHROMA_GREEN where the mask is 0."""
    return laid(picture, np.broadcast_to(np.array(CHROMA_GREEN, np.uint8), picture.shape), foreground)
