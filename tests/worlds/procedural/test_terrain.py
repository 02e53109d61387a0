"""Hashes, waves, noise and the height field, in plain Python: the same functions that the kernels compile."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.worlds.procedural.attributes import THEMES, Attributes
from worldstream.worlds.procedural.scene import AMP, FREQ, SEED, SHAPE, SHARP, SLOPE, scene_vector
from worldstream.worlds.procedural.terrain import hash2, height, noise2, steepest, wave

GOLDEN_HASHES = [3332939902, 395603351, 2697969469]
cells = st.integers(-(10**6), 10**6)
seeds = st.integers(0, 2**31 - 1)
places = st.floats(-1000, 1000)


@given(cells, cells, seeds)
def test_a_hash_is_32_bits_and_depends_on_every_argument(ix: int, iz: int, seed: int) -> None:
    h = hash2(ix, iz, seed)
    assert 0 <= h < 2**32
    assert h == hash2(ix, iz, seed)
    assert len({h, hash2(ix + 1, iz, seed), hash2(ix, iz + 1, seed), hash2(ix, iz, seed + 1)}) == 4


def test_hash_values_never_change() -> None:
    assert [hash2(0, 0, 0), hash2(3, -5, 7), hash2(-1, 2, 2**31 - 1)] == GOLDEN_HASHES


def test_hash_bits_are_balanced() -> None:
    hashes = np.array([hash2(ix, iz, 5) for ix in range(64) for iz in range(64)], np.uint64)
    share = np.array([((hashes >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(32)])
    assert np.abs(share - 0.5).max() < 0.04  # five standard deviations of 4096 coins


@given(st.floats(-1000, 1000))
def test_wave_has_period_one_and_stays_within_one(t: float) -> None:
    assert -1.0 <= wave(t) <= 1.0
    assert wave(t + 1.0) == pytest.approx(wave(t), abs=1e-9)
    assert wave(t + 0.5) == pytest.approx(-wave(t), abs=1e-9)
    assert wave(t) == pytest.approx(math.sin(2 * math.pi * t), abs=0.06)


@given(places, places, seeds)
def test_noise_is_bounded_and_smooth(x: float, z: float, seed: float) -> None:
    here = noise2(x, z, seed)
    assert -1.0 <= here <= 1.0
    assert abs(noise2(x + 1e-4, z, seed) - here) < 2e-3


@settings(max_examples=25)
@given(st.sampled_from(range(len(THEMES))), st.floats(0, 1), seeds, st.lists(st.tuples(places, places), min_size=40))
def test_no_slope_is_steeper_than_the_bound(
    theme: int, relief: float, seed: int, spots: list[tuple[float, float]]
) -> None:
    p = scene_vector(Attributes(theme, 2, 0, 0, 0.5, relief, 0.5), seed)
    shape = (p[AMP], p[FREQ], p[SHAPE], p[SHARP], p[SEED])
    for x, z in spots:
        here = height(x, z, *shape)
        assert abs(here) <= 1.1600001 * p[AMP]
        slope = math.hypot(height(x + 1e-3, z, *shape) - here, height(x, z + 1e-3, *shape) - here) / 1e-3
        assert slope <= 1.02 * p[SLOPE] + 1e-3, (
            "it is sampled: a search found spots 0.5 % beyond it, which no picture shows"
        )


def test_flat_ground_has_no_slope() -> None:
    assert steepest(0.0, 0.03, 0.0, 1.0, 5.0) == 0.0
    assert height(3.0, 4.0, 0.0, 0.03, 0.0, 1.0, 5.0) == 0.0


@pytest.mark.parametrize("theme", ["canyon", "ocean cliffs"])
def test_cliffs_have_relief(theme: str) -> None:
    for seed in range(5):
        p = scene_vector(Attributes(THEMES.index(theme), 2, 0, 0, 0.5, 0.5, 0.5), seed)
        at = range(-100, 101, 4)
        heights = [height(x, z, p[AMP], p[FREQ], p[SHAPE], p[SHARP], p[SEED]) for x in at for z in at]
        assert max(heights) - min(heights) > 6.0
        assert p[SLOPE] > 0.8  # metres a metre: walls, not hills
