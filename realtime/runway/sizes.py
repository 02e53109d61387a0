"""From `ratio` and `resolution` to pixels. A ratio of pixels is the size itself; of shapes, the resolution decides."""

from __future__ import annotations

import math

_SHORT_SIDES = {"480p": 480, "720p": 720, "768p": 768, "1080p": 1080, "1k": 1080, "2k": 1440, "4k": 2160}
_FEWEST_PX = 100  # both parts of a ratio of pixels are larger; those of a shape are not


def size_of(ratio: str, resolution: str = "", source: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """(width, height) in pixels, even. `source` is the size of the picture or video that `adaptive`, `auto` and an
    absent ratio follow; (0, 0) where there is none: then 16:9."""
    first, _, second = ratio.partition(":")
    if first.isdigit() and second.isdigit():
        width, height = int(first), int(second)
        if min(width, height) >= _FEWEST_PX:
            return width, height
        return shaped(width / height, short_side(resolution))
    tier = ratio.removeprefix("auto_") if ratio.startswith("auto_") else resolution
    shape = source[0] / source[1] if all(source) else 16 / 9
    if ratio.startswith("auto") and tier in ("1k", "2k"):  # of pictures: about so many pixels along a square's side
        side = {"1k": 1024, "2k": 2048}[tier]
        return _even(side * math.sqrt(shape)), _even(side / math.sqrt(shape))
    return shaped(shape, short_side(tier))


def short_side(resolution: str) -> int:
    """Pixels of the shorter side; 720 where nothing is said."""
    return _SHORT_SIDES.get(resolution.lower(), 720)


def shaped(shape: float, side_px: int) -> tuple[int, int]:
    """(width, height) of `shape` = width / height with the shorter side given, and at most 4:1 either way."""
    shape = min(max(shape, 0.25), 4.0)
    return (_even(side_px * shape), _even(side_px)) if shape >= 1 else (_even(side_px), _even(side_px / shape))


def aspect_of(ratio: str) -> str:
    """The shape of a ratio of pixels in least terms: 1280:720 is 16:9. Empty for adaptive and auto."""
    first, _, second = ratio.partition(":")
    if not (first.isdigit() and second.isdigit()):
        return ""
    common = math.gcd(int(first), int(second))
    return f"{int(first) // common}:{int(second) // common}"


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))
