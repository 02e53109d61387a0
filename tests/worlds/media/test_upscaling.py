"""Larger pictures: exact sizes, seamless tiles, nearer to the truth than Lanczos, and finishing touches that do what
they say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worlds.media.films import gradient
from worldstream.worlds.media.limits import DeliveryError, Limits
from worldstream.worlds.media.upscaler import Upscaler, load_upscaler
from worldstream.worlds.media.upscaling import TILE, Finish, doubled, finished, target_size, upscaled, upscaled_film
from worldstream.worlds.procedural.episodes import episode
from worldstream.worlds.training.upscaler import EVALUATION_SEED

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model() -> Upscaler:
    return load_upscaler()


def psnr_db(made: Rgb, truth: Rgb) -> float:
    return float(10 * np.log10(255**2 / np.mean(np.square(made.astype(float) - truth))))


def by_area(rgb: Rgb, factor: int) -> Rgb:
    size = (rgb.shape[1] // factor, rgb.shape[0] // factor)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def test_it_is_nearer_to_renders_it_has_not_seen_than_lanczos(model: Upscaler) -> None:
    changes: list[float] = []
    gains: dict[int, list[float]] = {2: [], 4: []}
    for seed in range(EVALUATION_SEED, EVALUATION_SEED + 3):
        truth = episode(seed, 2, 256, 160, changes=False).rgb
        films: dict[str, list[Rgb]] = {"made": [], "plain": []}
        for factor in gains:
            small = by_area(truth[1], factor)
            made = upscaled(small, 256, 160, model)
            plain = np.asarray(cv2.resize(small, (256, 160), interpolation=cv2.INTER_LANCZOS4), np.uint8)
            gains[factor].append(psnr_db(made, truth[1]) - psnr_db(plain, truth[1]))
        for frame in truth:
            films["made"].append(upscaled(by_area(frame, 2), 256, 160, model))
            resampled = cv2.resize(by_area(frame, 2), (256, 160), interpolation=cv2.INTER_LANCZOS4)
            films["plain"].append(np.asarray(resampled, np.uint8))
        true_change = truth[1].astype(float) - truth[0]
        wrong = {k: np.abs(f[1].astype(float) - f[0] - true_change).mean() for k, f in films.items()}
        changes.append(float(wrong["made"] - wrong["plain"]))
    assert min(gains[2]) > 1.0  # decibels
    assert np.mean(gains[4]) > 0.5
    assert np.mean(changes) < 0  # it flickers less than Lanczos


@pytest.mark.parametrize(
    ("width", "height"), [(128, 72), (256, 144), (1024, 576), (100, 60), (64, 36), (32, 18), (50, 90)]
)
def test_sizes_are_exact(model: Upscaler, width: int, height: int) -> None:
    made = upscaled(next(gradient(1)), width, height, model)
    assert made.shape == (height, width, 3)
    assert made.dtype == np.uint8


def test_smooth_colours_stay_and_edges_do_not_shift(model: Upscaler) -> None:
    rgb = next(gradient(1))
    small_again = by_area(upscaled(rgb, 128, 72, model), 2)
    assert np.abs(small_again.astype(int) - rgb).mean() < 1.5
    grey = np.full((20, 30, 3), 77, np.uint8)
    assert np.abs(upscaled(grey, 120, 80, model).astype(int) - 77).max() <= 2


def test_tiles_leave_no_seams(model: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rgb = cv2.resize(random.integers(0, 256, (12, 20, 3), np.uint8), (90, 70), interpolation=cv2.INTER_CUBIC)
    whole = doubled(np.asarray(rgb, np.uint8), model)
    assert max(rgb.shape) < TILE
    monkeypatch.setattr("worldstream.worlds.media.upscaling.TILE", 32)
    tiled = doubled(np.asarray(rgb, np.uint8), model)
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    frozen = np.asarray(rgb, np.uint8)
    frozen.setflags(write=False)
    assert np.array_equal(doubled(frozen, model), tiled)


def test_target_sizes() -> None:
    assert target_size((64, 36), None, None) == (128, 72)
    assert target_size((64, 36), 16, None) == (1024, 576)
    assert target_size((64, 36), 3, (100, 50)) == (100, 50)
    with pytest.raises(DeliveryError, match="more than 16 times"):
        target_size((64, 36), 17, None)
    with pytest.raises(DeliveryError, match="too many to make"):
        target_size((640, 360), 4, None, Limits(pixels=1_000_000))
    with pytest.raises(DeliveryError, match="cannot be 0"):
        target_size((64, 36), 0.001, None)
    with pytest.raises(DeliveryError, match=r"grain must be in \[0, 1\], got 2"):
        Finish(grain=2)


def step() -> Rgb:
    rgb = np.full((40, 60, 3), 60, np.uint8)
    rgb[:, 30:] = 180
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.5), np.uint8)


def test_sharpening_makes_edges_steeper_without_halos() -> None:
    rgb = step()
    sharp = finished(rgb, Finish(sharpen=1.0))
    slope = np.abs(np.diff(rgb[20, :, 0].astype(int))).max(), np.abs(np.diff(sharp[20, :, 0].astype(int))).max()
    assert slope[1] > 1.3 * slope[0]
    assert sharp.min() >= rgb.min()
    assert sharp.max() <= rgb.max()
    half = finished(rgb, Finish(sharpen=0.5))
    assert slope[0] < np.abs(np.diff(half[20, :, 0].astype(int))).max() <= slope[1]


def test_detail_raises_fine_contrast_and_leaves_edges() -> None:
    y, x = np.mgrid[:60, :60]
    texture = np.repeat((120 + 4 * np.sin(x * 1.5) * np.sin(y * 1.5))[..., None], 3, -1).astype(np.uint8)
    assert finished(texture, Finish(detail=1.0)).std() > 1.5 * texture.std()
    edge = finished(step(), Finish(detail=1.0)).astype(int)
    assert edge.max() - edge.min() < 120 * 1.15


def test_grain_is_grain() -> None:
    grey = np.full((80, 80, 3), 128, np.uint8)
    first, second = finished(grey, Finish(grain=0.5), 0), finished(grey, Finish(grain=0.5), 1)
    assert 2 < first.std() < 9
    assert abs(float(first.mean()) - 128) < 0.5
    assert np.array_equal(first[..., 0], first[..., 2])  # of light, not of colour
    assert abs(np.corrcoef(first[..., 0].ravel(), second[..., 0].ravel())[0, 1]) < 0.1  # another in every frame
    assert np.array_equal(first, finished(grey, Finish(grain=0.5), 0))  # and the same in every run
    black = finished(np.zeros((80, 80, 3), np.uint8), Finish(grain=0.5))
    assert black.std() < first.std() / 2
    assert finished(grey, Finish()) is grey


def test_films_are_upscaled_frame_by_frame(model: Upscaler) -> None:
    made = list(upscaled_film(gradient(3), 96, 54, model, Finish(grain=0.3)))
    assert [frame.shape for frame in made] == [(54, 96, 3)] * 3
    assert np.array_equal(made[2], upscaled(list(gradient(3))[2], 96, 54, model, Finish(grain=0.3), 2))
