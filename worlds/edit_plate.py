"""What is behind something: pixels for a hole in a frame from other frames of the shot, and from around it.

Frames of a shot are brought over each other by a homography, which is right for a camera that turns and for what is far
or flat. A hole is filled from the frame nearest in time that shows what lies behind it, then from the frame just made,
and only what no frame shows is painted from the surroundings (Telea 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .edit_masks import Mask, Picture, laid

MATCH_PX = 480  # the longer side at which frames are compared
FEWEST_MATCHES = 12
SAMPLES = 16  # frames of a shot that are kept to look behind things
MOVES = 24  # grey levels by which a pixel differs from other frames brought over it where something moves
COMPARED = 10  # of them, at most
Matrix = NDArray[np.float64]  # [3, 3]


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame that may show what is behind something in another one."""

    index: int
    picture: Picture
    hole: Mask  # what must not be taken from it


@dataclass(slots=True)
class Counts:
    """Where the pixels of the holes came from."""

    pixels: float = 0.0
    other_frames: float = 0.0
    painted: float = 0.0
    frames: int = 0
    unaligned: int = 0

    def facts(self) -> dict[str, float]:
        of = max(1.0, self.pixels)
        return {
            "hole_share_from_other_frames": round(self.other_frames / of, 3),
            "hole_share_painted_from_around": round(self.painted / of, 3),
        }


def spread(start: int, stop: int, most: int = SAMPLES) -> set[int]:
    """Evenly over the frames of a shot."""
    return {int(i) for i in np.linspace(start, stop - 1, min(most, stop - start)).round()}


def around(samples: Sequence[Sample], index: int, most: int = COMPARED) -> list[Sample]:
    """Those nearest to a frame in time."""
    return sorted(samples, key=lambda s: abs(s.index - index))[:most]


def homography(
    source: Picture, target: Picture, avoid: Mask | None = None, beside: Mask | None = None
) -> Matrix | None:
    """What brings `source` over `target`, both `[H, W, 3]` of one size; None where too little agrees.

    `avoid` and `beside` are what to leave out of each.
    """
    height, width = source.shape[:2]
    scale = min(1.0, MATCH_PX / max(height, width))
    a, b = (_grey(p, scale) for p in (source, target))
    look = None if avoid is None else _free(avoid, a.shape)
    points: Any = cv2.goodFeaturesToTrack(a, 300, 0.01, 7, mask=look)
    if points is None or len(points) < FEWEST_MATCHES:
        return None
    found, ok, _ = cv2.calcOpticalFlowPyrLK(a, b, points, np.empty_like(points), winSize=(21, 21), maxLevel=4)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(b, a, found, np.empty_like(points), winSize=(21, 21), maxLevel=4)
    good = (ok.ravel() > 0) & (ok_back.ravel() > 0) & (np.abs(back - points).max((1, 2)) < 1.0)
    if beside is not None:
        free = _free(beside, b.shape)
        at = found.reshape(-1, 2).round().astype(int).clip(0, [b.shape[1] - 1, b.shape[0] - 1])
        good &= free[at[:, 1], at[:, 0]] > 0
    if int(good.sum()) < FEWEST_MATCHES:
        return None
    fit: Any = cv2.findHomography(points[good], found[good], cv2.RANSAC, 2.0)
    matrix, agree = fit  # None where nothing fits, whatever the stubs say
    if matrix is None or int(agree.sum()) < max(FEWEST_MATCHES, 0.4 * int(good.sum())):
        return None
    size = np.diag([scale, scale, 1.0])
    return np.asarray(np.linalg.inv(size) @ matrix @ size, np.float64)


def _grey(picture: Picture, scale: float) -> Picture:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _free(mask: Mask, shape: tuple[int, ...]) -> Picture:
    small = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    grown = cv2.dilate((small > 0.02).astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(255 * (1 - grown), np.uint8)


@dataclass(slots=True)
class Plate:
    """Fills the holes of a shot's frames, in order."""

    samples: Sequence[Sample]
    counts: Counts = field(default_factory=Counts)
    _made: Sample | None = None

    def filled(self, picture: Picture, hole: Mask, index: int) -> Picture:
        """The frame `[H, W, 3]` without what is in the hole `[H, W]`; pixels outside of it stay exactly as they are."""
        wanted = cv2.dilate((hole > 0.02).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        out, left = picture.copy(), wanted.copy()
        self.counts.pixels += float(wanted.sum())
        self.counts.frames += 1
        near = sorted(self.samples, key=lambda s: abs(s.index - index))
        for sample in [*near, *([self._made] if self._made is not None else [])]:
            if not left.any() or float(left.sum()) < 1e-4 * left.size:
                break
            if sample.index != index:
                left = self._from(sample, picture, hole, out, left)
        self.counts.other_frames += float((wanted & ~left).sum())
        self.counts.painted += float(left.sum())
        if left.any():
            out = painted(out, left)
        out = laid(
            _softened(out, wanted), picture, np.asarray(np.where(wanted, np.maximum(hole, 0.0), 0.0), np.float32)
        )
        self._made = Sample(index, out, np.zeros_like(hole))
        return out

    def _from(
        self, sample: Sample, picture: Picture, hole: Mask, out: Picture, left: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Take what this frame shows of what is left; returns what is left then."""
        made = sample is self._made
        # a frame without its hole is compared where both show the same
        matrix = homography(sample.picture, picture, None if made else sample.hole, hole)
        if matrix is None:
            self.counts.unaligned += 1
            return left
        size = picture.shape[1], picture.shape[0]
        moved = np.asarray(cv2.warpPerspective(sample.picture, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)
        outside = np.ones(hole.shape, np.float32) if made else (sample.hole < 0.02).astype(np.float32)
        sure = cv2.erode(outside, np.ones((5, 5), np.uint8))
        shown = np.asarray(cv2.warpPerspective(sure, matrix, size, flags=cv2.INTER_NEAREST), np.float32)
        take = left & (shown > 0.99)
        if take.any():
            moved = _lit(moved, picture, hole, shown)
            out[take] = moved[take]
        return left & ~take


def _lit(moved: Picture, picture: Picture, hole: Mask, shown: NDArray[np.float32]) -> Picture:
    """Brightened or dimmed as the frame around the hole is, where light has changed between the two."""
    ring = (
        (cv2.dilate((hole > 0.02).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0) & (hole < 0.02) & (shown > 0.99)
    )
    if int(ring.sum()) < 50:
        return moved
    gain = (picture[ring].mean(0) + 4) / (moved[ring].mean(0) + 4)
    return np.asarray((moved * gain.clip(0.7, 1.4)).clip(0, 255), np.uint8)


def _softened(out: Picture, wanted: NDArray[np.bool_]) -> Picture:
    """The seams between what came from different frames, a little blurred inside the hole."""
    soft = cv2.GaussianBlur(out, (3, 3), 0)
    inner = cv2.erode(wanted.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    edge = cv2.Laplacian(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return np.asarray(np.where((inner & (np.abs(edge) > 60))[..., None], soft, out), np.uint8)


def painted(picture: Picture, hole: NDArray[np.bool_], longest_px: int = 320) -> Picture:
    """The hole painted from its surroundings, at a small size: what is not known is better soft than striped."""
    height, width = hole.shape
    scale = min(1.0, longest_px / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    gap = (cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.01).astype(np.uint8)
    filled = cv2.inpaint(small, gap, 5, cv2.INPAINT_TELEA)
    large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.where(hole[..., None], large, picture), np.uint8)


def moving(picture: Picture, samples: Sequence[Sample], longest_px: int = 320) -> Mask | None:
    """What moves on its own in a frame: what most of the others, brought over it, show otherwise. None where fewer than
    two of them can be."""
    small = _shrunk(picture, longest_px)
    here, size = small.astype(np.int16), (small.shape[1], small.shape[0])
    counts, agreeing = (np.zeros(small.shape[:2], np.float32) for _ in range(2))
    aligned = 0
    for sample in samples:
        other = _shrunk(sample.picture, longest_px)
        matrix = homography(other, small)
        if matrix is None or np.array_equal(other, small):
            continue
        inside = np.asarray(cv2.warpPerspective(np.ones_like(other[..., 0]), matrix, size), np.float32)
        apart = np.abs(cv2.warpPerspective(other, matrix, size).astype(np.int16) - here).max(-1)
        counts += inside
        agreeing += inside * (apart < MOVES)
        aligned += 1
    if aligned < 2:
        return None
    found = ((counts >= 1) & (agreeing < 0.5 * counts)).astype(np.uint8)
    calm = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    grown = cv2.dilate(calm, np.ones((9, 9), np.uint8))
    large = cv2.resize(grown, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.float32)


def _shrunk(picture: Picture, longest_px: int) -> Picture:
    scale = min(1.0, longest_px / max(picture.shape[:2]))
    if scale == 1.0:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
