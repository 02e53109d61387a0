"""Actions refuse what no player can do; the camera turns first and then walks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.core import KEYS, Action, Camera

NUMBERS = ("right_m", "up_m", "forward_m", "yaw_rad", "pitch_rad", "input_time_s")
METRES = st.floats(-100, 100)
RADIANS = st.floats(-10, 10)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_action_refuses_what_is_not_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Action\.{name} .*got {value}"):
        Action(**{name: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_action_refuses_unknown_keys_and_names_them() -> None:
    with pytest.raises(ValueError, match=r"got \['fly', 'jump'\]"):
        Action(keys=frozenset({"jump", "forward", "fly"}))


def test_action_takes_all_keys() -> None:
    assert Action(keys=frozenset(KEYS)).keys == set(KEYS)


def matrix(camera: Camera) -> np.ndarray:
    """Camera to world, 4x4, from yaw and place; pitch does not steer a walker."""
    turn = np.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(camera.yaw_rad)
    turn[0, 2], turn[2, 0] = math.sin(camera.yaw_rad), -math.sin(camera.yaw_rad)
    turn[:3, 3] = camera.x_m, camera.y_m, camera.z_m
    return turn


@given(st.builds(Camera, METRES, METRES, METRES, RADIANS, RADIANS), st.builds(Action, METRES, METRES, METRES, RADIANS))
def test_moved_equals_matrices(camera: Camera, action: Action) -> None:
    turn = matrix(Camera(yaw_rad=action.yaw_rad))
    walk = np.eye(4)
    walk[:3, 3] = action.right_m, action.up_m, action.forward_m
    after = camera.moved(action)
    np.testing.assert_allclose(matrix(after), matrix(camera) @ turn @ walk, atol=1e-9)


@given(st.builds(Camera, METRES, METRES, METRES, RADIANS, RADIANS), RADIANS)
def test_looking_up_moves_nothing_else(camera: Camera, pitch: float) -> None:
    after = camera.moved(Action(pitch_rad=pitch))
    assert after == Camera(camera.x_m, camera.y_m, camera.z_m, camera.yaw_rad, camera.pitch_rad + pitch)


def test_directions_have_their_meaning() -> None:
    north = Camera()
    assert north.moved(Action(forward_m=1)).z_m == 1
    assert north.moved(Action(right_m=1)).x_m == 1
    east = north.moved(Action(yaw_rad=math.pi / 2, forward_m=1))
    assert (east.x_m, east.z_m) == pytest.approx((1, 0))
