"""Walks: within the trained range, balanced, repeatable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.procedural.paths import (
    FORWARD,
    MAX_PITCH_RAD,
    MAX_STEP_M,
    MAX_TURN_RAD,
    PITCH,
    RIGHT,
    YAW,
    limited,
    walk,
)


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_walks_stay_within_limits_and_repeat(seed: int, frames: int) -> None:
    path = walk(np.random.default_rng(seed), frames)
    assert path.shape == (frames, 4)
    assert path.dtype == np.float32
    assert np.isfinite(path).all()
    assert np.hypot(path[:, RIGHT], path[:, FORWARD]).max() <= MAX_STEP_M + 1e-6
    assert np.abs(path[:, YAW]).max() <= MAX_TURN_RAD + 1e-6
    assert np.abs(np.cumsum(path[:, PITCH])).max() <= MAX_PITCH_RAD + 1e-5
    np.testing.assert_array_equal(path, walk(np.random.default_rng(seed), frames))


def test_limits_hold_for_any_path() -> None:
    wild = np.random.default_rng(1).normal(0, 5, (200, 4)).astype(np.float32)
    path = limited(wild)
    assert np.hypot(path[:, RIGHT], path[:, FORWARD]).max() <= MAX_STEP_M + 1e-6
    assert np.abs(np.cumsum(path[:, PITCH])).max() <= MAX_PITCH_RAD + 1e-5
    np.testing.assert_allclose(limited(path), path, atol=1e-6)


def test_walks_are_balanced() -> None:
    paths = np.stack([walk(np.random.default_rng(seed), 48) for seed in range(600)])
    moving = np.hypot(paths[..., RIGHT], paths[..., FORWARD]) > 0.02
    turning = np.abs(paths[..., YAW]) > 0.005
    for column in (RIGHT, YAW, PITCH):  # left as often as right, up as often as down
        sign = np.sign(np.where(np.abs(paths[..., column]) > 0.005, paths[..., column], 0)).mean(1)
        assert sign.mean() == pytest.approx(0, abs=5 * sign.std() / np.sqrt(len(paths)) + 1e-6)
    assert 0.4 < moving.mean() < 0.8
    assert 0.35 < turning.mean() < 0.8
    assert (paths[..., FORWARD] > 0.02).mean() > (paths[..., FORWARD] < -0.02).mean() > 0.05  # forward leads
    assert (~moving & ~turning).mean() > 0.03  # idling is practised too
