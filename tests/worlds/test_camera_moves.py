"""Camera moves add up to what they say, begin and end at rest, and stay within what a world can do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.worlds.camera_moves import MOVES, ORBIT_M, Move, Rig, Track, compiled
from worldstream.worlds.core import Camera

FPS = 25.0
WALKER = Rig(0.45, math.radians(6.0), math.radians(22.0))
CRANE = Rig(9.0, 9.0, math.radians(89.0), up=True, roll=True, zoom=True)


def end(track: Track) -> Camera:
    camera = Camera()
    for action in track.actions:
        camera = camera.moved(action)
    return camera


def test_a_dolly_covers_its_speed_times_its_time() -> None:
    track = compiled((Move("dolly in", 1.0, 3.0, speed=0.5),), 4.0, FPS, WALKER)
    assert len(track.actions) == 100
    assert end(track).z_m == pytest.approx(2.0 * 0.5 * MOVES["dolly in"].forward)
    assert track.actions[24].forward_m == 0.0
    assert track.actions[80].forward_m == 0.0
    assert track.notes == ()


def test_a_move_begins_and_ends_gently() -> None:
    steps = [a.yaw_rad for a in compiled((Move("pan right", 0.0, 2.0),), 2.0, FPS, WALKER).actions]
    assert sum(steps) == pytest.approx(2.0 * MOVES["pan right"].yaw)
    assert 0 < steps[0] < 0.5 * max(steps)
    assert 0 < steps[-1] < 0.5 * max(steps)


def test_an_orbit_keeps_its_centre_ahead() -> None:
    """At every moment the point ORBIT_M ahead of the start lies near the middle of the picture, and as far away."""
    camera = Camera()
    for action in compiled((Move("orbit right", 0.0, 6.0),), 6.0, FPS, WALKER).actions:
        camera = camera.moved(action)
        x, z = 0.0 - camera.x_m, ORBIT_M - camera.z_m
        assert math.hypot(x, z) == pytest.approx(ORBIT_M, rel=0.05)
        off = (math.atan2(x, z) - camera.yaw_rad + math.pi) % (2 * math.pi) - math.pi
        assert abs(off) < math.radians(3.0)
    assert camera.yaw_rad < math.radians(-90.0)


def test_overlapping_moves_add_up() -> None:
    both = compiled((Move("truck left", 0.0, 2.0), Move("tilt up", 0.0, 2.0)), 2.0, FPS, WALKER)
    assert end(both).x_m == pytest.approx(2.0 * MOVES["truck left"].right)
    assert end(both).pitch_rad == pytest.approx(2.0 * MOVES["tilt up"].pitch)


def test_what_the_camera_cannot_do_is_left_out_and_said() -> None:
    track = compiled((Move("crane up", 0.0, 2.0), Move("zoom in", 0.0, 1.0)), 2.0, FPS, WALKER)
    assert end(track).y_m == 0.0
    assert end(track).pitch_rad < 0.0
    assert [note.split(":")[0] for note in track.notes] == ["crane up", "zoom in"]
    assert end(compiled((Move("crane up", 0.0, 2.0),), 2.0, FPS, CRANE)).y_m == pytest.approx(3.0)


def test_a_hand_shakes_the_same_way_for_the_same_seed_and_comes_to_rest() -> None:
    shaken = compiled((Move("handheld", 0.0, 4.0),), 4.0, FPS, WALKER, seed=3)
    assert shaken == compiled((Move("handheld", 0.0, 4.0),), 4.0, FPS, WALKER, seed=3)
    assert shaken != compiled((Move("handheld", 0.0, 4.0),), 4.0, FPS, WALKER, seed=4)
    assert max(abs(a.yaw_rad) for a in shaken.actions) > 1e-3
    assert end(shaken).yaw_rad == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(MOVES)), st.floats(0, 3), st.floats(0.1, 5), st.floats(0.1, 10)), max_size=4
    )
)
def test_no_track_leaves_the_rig(drawn: list[tuple[str, float, float, float]]) -> None:
    moves = tuple(Move(name, start, start + length, speed) for name, start, length, speed in drawn)
    pitch = 0.0
    for action in compiled(moves, 8.0, FPS, WALKER).actions:
        pitch += action.pitch_rad
        assert math.hypot(action.right_m, action.forward_m) <= WALKER.max_step_m + 1e-9
        assert abs(action.yaw_rad) <= WALKER.max_turn_rad
        assert abs(pitch) <= WALKER.max_pitch_rad + 1e-9
        assert action.up_m == 0.0


def test_what_is_too_fast_is_cut_and_said_once() -> None:
    track = compiled((Move("dolly in", 0.0, 2.0, speed=10.0),), 2.0, FPS, WALKER)
    assert max(a.forward_m for a in track.actions) == pytest.approx(WALKER.max_step_m)
    assert track.notes == ("too fast a step for this world: it goes as far as it can",)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Move("moonwalk", 0.0, 1.0), "no camera move 'moonwalk'"),
        (lambda: Move("pan left", 2.0, 2.0), "must come after its start"),
        (lambda: Move("pan left", 0.0, 1.0, math.nan), "speed must be above 0"),
        (lambda: compiled((Move("pan left", 0.0, 3.0),), 2.0, FPS, WALKER), "after the clip's 2 s"),
    ],
)
def test_bad_moves_are_named(make, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=said):
        make()
