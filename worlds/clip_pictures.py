"""Which part of a world's frames a clip shows, and somebody's picture placed so that this part shows all of it.

A world draws at one size. A clip of another shape shows the largest middle part of that shape. A picture that the clip
begins from lies in just this part; what lies outside is its mirror image, so that the model goes on from something
that fits and nobody sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .first_image import FirstImage, read_file

Picture = NDArray[np.uint8]
"""`[H, W, 3]`, sRGB."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that a prompt speaks of as `@tag`; without a tag, the first one fills what the prompt leaves open."""

    file: Path
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the world's frames, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, rgb: Picture) -> Picture:
        """What is shown of a frame of the world."""
        return rgb[self.top : self.top + self.height, self.left : self.left + self.width]

    def facts(self, world_width: int, world_height: int, width: int, height: int) -> Mapping[str, Any]:
        """What was cropped and scaled, for a task's metadata."""
        return {
            "drawn": [world_width, world_height],
            "shown": [self.width, self.height],
            "cropped": 1.0 - self.width * self.height / (world_width * world_height),
            "scale": max(width / self.width, height / self.height),
        }


def window(world_width: int, world_height: int, width: int, height: int) -> Window:
    """The largest middle part of a world's frames that has the shape of `width` x `height`; at least 16 pixels a side.

    Raises ValueError where there is no such part.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a clip has a width and a height above 0, got {width} x {height}")
    across = min(world_width, max(1, round(world_height * width / height)))
    down = min(world_height, max(1, round(world_width * height / width)))
    if min(across, down) < 16:
        raise ValueError(f"{width} x {height} is too narrow: {across} x {down} pixels of the world would be seen")
    return Window((world_width - across) // 2, (world_height - down) // 2, across, down)


def placed(picture: Picture, part: Window, world_width: int, world_height: int) -> Picture:
    """A frame of the world whose shown part is `picture`, `[part.height, part.width, 3]`. The rest mirrors it."""
    assert picture.shape == (part.height, part.width, 3), picture.shape
    bottom, right = world_height - part.top - part.height, world_width - part.left - part.width
    if not (part.top or part.left or bottom or right):
        return picture
    out = cv2.copyMakeBorder(picture, part.top, bottom, part.left, right, cv2.BORDER_REFLECT)
    return np.asarray(out, np.uint8)


def opened(path: Path, part: Window, world_width: int, world_height: int) -> FirstImage:
    """The picture in a file, placed. Raises ImageError that names the file, or OSError."""
    read = read_file(path, part.width, part.height)
    return FirstImage(placed(read.rgb, part, world_width, world_height), read.notes)
