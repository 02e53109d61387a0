"""Holes are filled with what other frames show behind them; masks leave the rest exactly as it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.worlds.edit_masks import CHROMA_GREEN, feathered, green, laid, masks
from worldstream.worlds.edit_plate import Plate, Sample, homography, moving, painted, spread
from worldstream.worlds.media.pictures import write_picture

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 120, 200


def wall(seed: int = 0) -> Picture:
    """A textured wall, larger than the frames."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 220, (16, 32, 3), dtype=np.uint8)
    fine = rng.integers(-20, 20, (160, 320, 1))
    large = cv2.resize(coarse, (320, 160), interpolation=cv2.INTER_NEAREST).astype(int)
    return np.asarray(cv2.GaussianBlur((large + fine).clip(0, 255).astype(np.uint8), (3, 3), 0), np.uint8)


def shot(count: int = 9) -> tuple[list[Picture], list[Picture], list[NDArray[np.float32]]]:
    """(frames with a ball before a panning wall, without it, masks of the ball)."""
    frames, clean, holes = [], [], []
    for i in range(count):
        view = wall()[10 : 10 + HEIGHT, 4 * i : 4 * i + WIDTH].copy()
        ball, hole = view.copy(), np.zeros((HEIGHT, WIDTH), np.float32)
        cv2.circle(ball, (30 + 16 * i, 60), 12, (250, 10, 10), -1)
        cv2.circle(hole, (30 + 16 * i, 60), 14, (1.0,), -1)
        frames.append(ball)
        clean.append(view)
        holes.append(hole)
    return frames, clean, holes


def test_what_is_behind_is_found_in_other_frames() -> None:
    frames, clean, holes = shot()
    plate = Plate([Sample(i, f, h) for i, (f, h) in enumerate(zip(frames, holes, strict=True))])
    for i, (frame, truth, hole) in enumerate(zip(frames, clean, holes, strict=True)):
        out = plate.filled(frame, hole, i)
        np.testing.assert_array_equal(out[hole == 0], frame[hole == 0])
        inside = hole > 0.5
        assert np.abs(out[inside].astype(int) - truth[inside]).mean() < 12
        assert np.abs(frame[inside].astype(int) - truth[inside]).mean() > 60  # the ball was there
    facts = plate.counts.facts()
    assert facts["hole_share_from_other_frames"] > 0.95


def test_what_no_frame_shows_is_painted_and_said() -> None:
    frame = wall()[:HEIGHT, :WIDTH]
    hole = np.zeros((HEIGHT, WIDTH), np.float32)
    hole[40:60, 80:110] = 1.0
    plate = Plate([Sample(1, frame, hole)])  # the same hole in the only other frame
    out = plate.filled(frame, hole, 0)
    assert plate.counts.facts()["hole_share_painted_from_around"] > 0.9
    np.testing.assert_array_equal(out[hole == 0], frame[hole == 0])
    assert painted(frame, hole > 0).shape == frame.shape


def test_what_moves_on_its_own_is_found_before_a_camera_that_pans() -> None:
    frames, _, holes = shot()
    samples = [Sample(i, f, np.zeros_like(holes[0])) for i, f in enumerate(frames)]
    found = moving(frames[4], samples)
    assert found is not None
    ball = holes[4] > 0.5
    assert found[ball].mean() > 0.9
    assert found[~ball].mean() < 0.1


def test_frames_that_share_nothing_are_not_laid_over_each_other() -> None:
    other = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert homography(wall()[:HEIGHT, :WIDTH], other) is None
    flat = np.full_like(other, 90)
    assert homography(flat, flat) is None
    assert moving(flat, [Sample(1, other, np.zeros((HEIGHT, WIDTH), np.float32))]) is None


def test_samples_are_spread_over_a_shot() -> None:
    assert spread(10, 13) == {10, 11, 12}
    assert min(spread(0, 500, 5)) == 0
    assert max(spread(0, 500, 5)) == 499


def test_masks_come_from_pictures_at_the_sources_size(tmp_path: Path) -> None:
    half = np.zeros((50, 80, 3), np.uint8)
    half[:, 40:] = 255
    path, _ = write_picture(tmp_path / "mask", half)
    mask = next(masks(path, WIDTH, HEIGHT))
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask[:, :95].max() == 0
    assert mask[:, 105:].min() == pytest.approx(1.0)
    picture = wall()[:HEIGHT, :WIDTH]
    keyed = green(picture, mask)
    assert (keyed[:, :95] == CHROMA_GREEN).all()
    np.testing.assert_array_equal(keyed[:, 105:], picture[:, 105:])


def test_a_soft_edge_lies_inside_the_mask() -> None:
    mask = np.zeros((60, 60), np.float32)
    mask[20:40, 20:40] = 1.0
    soft = feathered(mask, 0.05)
    assert soft[mask == 0].max() == 0
    assert soft[30, 30] == 1
    white = np.full((60, 60, 3), 255, np.uint8)
    assert laid(white, np.zeros_like(white), soft)[30, 30, 0] == 255
