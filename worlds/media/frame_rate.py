"""Another number of frames per second: new frames are drawn along the motion between their neighbours.

Dense optical flow is measured both ways between two frames (DIS, Kroeger et al. 2016) and carried to the moment between
them. A frame's pixels take part where they land: what is covered on the way comes from the frame that still shows it,
what is uncovered from the one that shows it already. Cuts are not blended: there the nearer frame is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .limits import DeliveryError

RATES: dict[str, Fraction] = {
    "23_98": Fraction(24000, 1001), "24": Fraction(24), "25": Fraction(25), "29_97": Fraction(30000, 1001),
    "30": Fraction(30), "48": Fraction(48), "50": Fraction(50), "59_94": Fraction(60000, 1001), "60": Fraction(60),
    "120": Fraction(120),
}  # fmt: skip
FLOW_SIDE_PX = 480  # motion is measured on pictures no larger than this
# What is left between two frames beyond any motion, where the scene changes: this much of 255, or this part of the
# picture's contrast where the two flows do not agree either. Of 40 renders and 40 cuts between them, dark and foggy
# ones among them, the first left at most 1.2 and 0.06, the second at least 4 and 0.20.
CUT, CUT_OF_CONTRAST, AGREEMENT = 14.0, 0.13, 0.2
DOUBT_PX = 1.5  # by how much the two flows may disagree before a pixel counts as covered or uncovered
Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]


def rate_of(name: str) -> Fraction:
    """Frames per second of a name of the task API. Raises DeliveryError."""
    if name not in RATES:
        raise DeliveryError(f"there is no frame rate {name!r}; there are {', '.join(RATES)}")
    return RATES[name]


def frames_at(count: int, fps: Fraction, target: Fraction) -> int:
    """How many frames the same duration has at another rate: at least one."""
    return max(1, math.floor(count * target / fps + Fraction(1, 2)))


def retimed(frames: Iterable[Rgb], fps: Fraction, target: Fraction) -> Iterator[Rgb]:
    """The same film, equally long, at `target` frames per second. Takes its frames one by one, two at a time.

    Frames that fall on one of the film's own are those, bit for bit.
    """
    if fps == target:
        yield from frames
        return
    made, index = 0, -1
    before: Rgb | None = None
    held: Rgb | None = None  # the newest that was made: where the film ends before its middle, it is not shown
    for index, rgb in enumerate(frames):
        if before is not None:
            pair: Pair | None = None
            while (at := made * fps / target) < index:
                part = float(at - (index - 1))
                if part and pair is None:
                    pair = measured(before, rgb)
                if held is not None:
                    yield held
                held = before if pair is None or not part else between(pair, part)
                made += 1
        before = rgb
    wanted = frames_at(index + 1, fps, target)
    if held is not None and made <= wanted:
        yield held
    if before is not None:
        yield from repeat(before, wanted - made)  # after the last frame nothing moves


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbouring frames and the motion between them."""

    before: Rgb
    after: Rgb
    cut: bool
    there: Floats  # [h, w, 2] pixels of the small picture, from before to after
    back: Floats  # from after to before


def measured(before: Rgb, after: Rgb) -> Pair:
    """The motion between two frames `[H, W, 3]`."""
    small_before, small_after = _small(before), _small(after)
    grey_before, grey_after = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (small_before, small_after))
    if min(grey_before.shape) < 16:  # too small for flow to be measured
        still = np.zeros((*grey_before.shape, 2), np.float32)
        return Pair(before, after, _left_over(small_before, small_after, still) > CUT, still, still)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0 if max(grey_before.shape) <= 320 else 1)
    there = cast(Floats, dis.calc(cast(Any, grey_before), cast(Any, grey_after), cast(Any, None)))
    back = cast(Floats, dis.calc(cast(Any, grey_after), cast(Any, grey_before), cast(Any, None)))
    left = min(_left_over(small_before, small_after, there), _left_over(small_after, small_before, back))
    contrast = 0.5 * float(small_before.std() + small_after.std())
    lost = left > CUT_OF_CONTRAST * contrast and float(_doubt(there, back).mean()) < AGREEMENT
    return Pair(before, after, left > CUT or lost, there, back)


def between(pair: Pair, part: float) -> Rgb:
    """The picture at `part` of the way from one to the other, in (0, 1)."""
    if pair.cut:
        return pair.before if part < 0.5 else pair.after
    seen_before, from_before = _carried(pair.there, _doubt(pair.there, pair.back), part)
    seen_after, from_after = _carried(pair.back, _doubt(pair.back, pair.there), 1 - part)
    # each frame's motion says where the other's pixels lie as well
    to_before = -part * _mixed(from_before, seen_before * (1 - part), -from_after, seen_after * part)
    to_after = (1 - part) * _mixed(from_before, seen_before * (1 - part), -from_after, seen_after * part)
    height, width = pair.before.shape[:2]
    first, second = _fetched(pair.before, to_before), _fetched(pair.after, to_after)
    weight_first = (1 - part) * (seen_before + 0.02)
    weight = weight_first / (weight_first + part * (seen_after + 0.02))
    share = np.asarray(cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR))[..., None]
    return np.rint(first * share + second * (1 - share)).clip(0, 255).astype(np.uint8)


def _small(rgb: Rgb) -> Rgb:
    scale = FLOW_SIDE_PX / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grid(height: int, width: int) -> Floats:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def _at(values: NDArray[Any], flow: Floats) -> Floats:
    """`values` at each pixel's place plus `flow`."""
    places = _grid(*flow.shape[:2]) + flow
    moved = cv2.remap(values, places, cast(Any, None), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _left_over(first: Rgb, second: Rgb, flow: Floats) -> float:
    """What the motion does not explain, of 255: half of the pixels differ by more."""
    difference = np.abs(_at(second.astype(np.float32), flow) - first).mean(axis=-1)
    return float(np.median(difference))


def _doubt(flow: Floats, back: Floats) -> Floats:
    """Of each pixel in (0, 1]: how surely it is seen in the other frame, that is, the flows cancel."""
    away = np.linalg.norm(flow + _at(back, flow), axis=-1)
    return cast(Floats, np.maximum(np.exp(-np.square(away / np.float32(DOUBT_PX))), np.float32(0.01)))


def _carried(flow: Floats, sure: Floats, part: float) -> tuple[Floats, Floats]:
    """(how much of the frame lands on each pixel at `part` of its way, in [0, 1]; the motion that lands there)."""
    height, width = sure.shape
    places = _grid(height, width) + np.float32(part) * flow
    corner = np.floor(places).astype(np.int64)
    inside = places - corner
    total = np.zeros(height * width)
    sums = [np.zeros(height * width), np.zeros(height * width)]
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[..., 0] + right, corner[..., 1] + down
        share_x = inside[..., 0] if right else 1 - inside[..., 0]
        share_y = inside[..., 1] if down else 1 - inside[..., 1]
        weight = np.where((x >= 0) & (x < width) & (y >= 0) & (y < height), share_x * share_y * sure, 0).ravel()
        index = (np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)).ravel()
        total += np.bincount(index, weight, height * width)
        for axis in (0, 1):
            sums[axis] += np.bincount(index, weight * flow[..., axis].ravel(), height * width)
    motion = np.stack(sums, axis=-1) / np.maximum(total, 1e-6)[:, None]
    seen = np.minimum(total, 1).reshape(height, width).astype(np.float32)
    return seen, motion.reshape(height, width, 2).astype(np.float32)


def _mixed(first: Floats, weight_first: Floats, second: Floats, weight_second: Floats) -> Floats:
    """The mean of two motions; where nothing landed, that of the surroundings."""
    total = weight_first + weight_second
    motion = first * weight_first[..., None] + second * weight_second[..., None]
    wide_total = cv2.GaussianBlur(total, (0, 0), 3)[..., None]
    wide = cv2.GaussianBlur(motion, (0, 0), 3) / np.maximum(wide_total, 1e-6)
    trust = np.minimum(total / 0.2, 1)[..., None]
    return cast(Floats, trust * motion / np.maximum(total, 1e-6)[..., None] + (1 - trust) * wide)


def _fetched(rgb: Rgb, flow: Floats) -> Floats:
    """The large picture, moved by the small picture's flow."""
    height, width = rgb.shape[:2]
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    if flow.shape[:2] != (height, width):
        flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return _at_cubic(rgb, flow * scale)


def _at_cubic(rgb: Rgb, flow: Floats) -> Floats:
    places = _grid(*flow.shape[:2]) + flow
    moved = cv2.remap(rgb, places, cast(Any, None), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
