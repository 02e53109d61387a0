"""Colour grids: they find a map that is there, keep edges at any size, and mix as numbers do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worldstream.worlds.edit_grid import fitted, identity, sliced, within

Picture = NDArray[np.uint8]


def scene(seed: int, height: int = 80, width: int = 128) -> Picture:
    """Soft colours with hard edges and fine texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (5, 8, 3), dtype=np.uint8)
    soft = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    soft[height // 2 :, : width // 3] //= 2
    return np.asarray((soft.astype(int) + rng.integers(-8, 9, soft.shape)).clip(0, 255), np.uint8)


def test_the_identity_changes_nothing() -> None:
    picture = scene(0)
    np.testing.assert_array_equal(identity().applied(picture), picture)


def test_a_map_that_is_affine_is_found() -> None:
    picture = scene(1)
    turned = (picture.astype(float) @ np.array([[0.5, 0.1, 0], [0.2, 0.6, 0.1], [0, 0, 0.9]]).T + 12).round()
    made = fitted(picture, turned.astype(np.uint8)).applied(picture)
    assert np.abs(made - turned).mean() < 1.0


def test_sky_and_ground_may_change_differently() -> None:
    picture = scene(2)
    other = picture.copy()
    other[:40] = (picture[:40] * 0.3).astype(np.uint8)
    other[40:, :, 2] = 255 - (255 - picture[40:, :, 2]) // 2
    made = fitted(picture, other).applied(picture).astype(int)
    assert np.abs(made[:30] - other[:30]).mean() < 6
    assert np.abs(made[50:] - other[50:]).mean() < 6


def test_a_grid_of_a_small_picture_keeps_the_edges_of_the_large_one() -> None:
    large = scene(3, 480, 768)
    grid = fitted(within(large, 128), (within(large, 128) * 0.5).astype(np.uint8))
    made = grid.applied(large)
    assert made.shape == large.shape
    edges = [float(np.abs(cv2.Laplacian(p, cv2.CV_32F)).mean()) for p in (made, large)]
    assert edges[0] == pytest.approx(0.5 * edges[1], rel=0.1)  # half as bright, just as sharp


def test_strength_leads_from_nothing_to_all_and_beyond() -> None:
    picture = scene(4)
    grid = fitted(picture, (picture * 0.5).astype(np.uint8))
    means = [float(grid.strengthened(s).applied(picture).mean()) for s in (0.0, 0.5, 1.0, 1.5)]
    assert means[0] == pytest.approx(float(picture.mean()), abs=0.1)
    assert np.diff(means) == pytest.approx(np.full(3, means[1] - means[0]), rel=0.1)


def test_slices_are_read_where_brightness_and_place_say() -> None:
    cells = torch.zeros(1, 12, 8, 10, 16)
    cells[0, 3, 7, :, :8] = 1.0  # bright, left
    maps = sliced(cells, torch.tensor([[[0.95, 0.95, 0.95, 0.95], [0.1, 0.1, 0.1, 0.1]]]))
    assert maps[0, 3, 0, 0] == pytest.approx(1.0)
    assert maps[0, 3, 0, 3] == 0
    assert not maps[0, 3, 1].any()


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[80, 128, 3\], got \[40, 64, 3\]"):
        fitted(scene(0), scene(0, 40, 64))
