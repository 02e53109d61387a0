"""Inputs to actions: the newest wins, mouse turns are carried and bounded, nothing exceeds what the world can do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.config import InputConfig
from worldstream.realtime.inputs import InputState
from worldstream.realtime.protocol import KEY_NAMES, Input
from worldstream.worlds.core import Action

CONFIG = InputConfig()
MAX_STEP_M = 0.4
MAX_TURN_RAD = 0.2


@pytest.fixture
def state() -> InputState:
    return InputState(CONFIG, MAX_STEP_M, MAX_TURN_RAD)


def compose(state: InputState) -> Action:
    return state.compose()[0]


def keys(seq: int, *names: str) -> Input:
    return Input(seq=seq, keys=frozenset(names))


def test_nothing_pressed_is_standing_still(state: InputState) -> None:
    assert state.compose() == (Action(), False)


def test_held_keys_move_every_frame(state: InputState) -> None:
    state.receive(keys(1, "forward"), 5.0)
    first, fresh = state.compose()
    assert (first.forward_m, first.right_m, first.input_id, first.input_time_s, fresh) == (0.30, 0.0, 1, 5.0, True)
    second, fresh = state.compose()
    assert (second.forward_m, second.input_id, fresh) == (0.30, 1, False)


def test_the_newest_wins_and_stale_ones_are_dropped(state: InputState) -> None:
    assert state.receive(keys(5, "forward"), 1.0)
    assert state.receive(keys(9, "back"), 1.1)
    assert not state.receive(keys(9, "left"), 1.2)
    assert not state.receive(keys(7, "left"), 1.3)
    compose(state)
    assert compose(state).forward_m == -0.30


def test_a_tap_between_two_frames_counts_for_one(state: InputState) -> None:
    state.receive(keys(1, "forward"), 1.00)
    state.receive(keys(2), 1.01)
    first = compose(state)
    assert first.forward_m == 0.30
    assert first.input_id == 2
    assert compose(state).forward_m == 0.0


def test_a_diagonal_is_as_long_as_a_straight_step(state: InputState) -> None:
    state.receive(keys(1, "forward", "right"), 1.0)
    action = compose(state)
    assert math.hypot(action.forward_m, action.right_m) == pytest.approx(0.30)
    assert action.forward_m == pytest.approx(action.right_m)


def test_opposite_keys_cancel(state: InputState) -> None:
    state.receive(keys(1, "forward", "back", "turn_left", "turn_right"), 1.0)
    action = compose(state)
    assert (action.forward_m, action.yaw_rad) == (0.0, 0.0)


def test_a_stick_walks_at_its_own_speed(state: InputState) -> None:
    state.receive(Input(seq=1, move=(0.0, 0.5)), 1.0)
    assert compose(state).forward_m == pytest.approx(0.15)


def test_turn_keys(state: InputState) -> None:
    state.receive(keys(1, "turn_right", "look_up"), 1.0)
    action = compose(state)
    assert action.yaw_rad == pytest.approx(math.radians(3.0))
    assert action.pitch_rad == pytest.approx(math.radians(2.0))


def test_what_the_world_cannot_turn_at_once_is_carried(state: InputState) -> None:
    state.receive(Input(seq=1, yaw=0.5), 1.0)
    turns = [compose(state).yaw_rad for _ in range(4)]
    assert turns == pytest.approx([0.2, 0.2, 0.1, 0.0])


def test_a_wild_flick_is_forgotten_beyond_the_bound(state: InputState) -> None:
    state.receive(Input(seq=1, yaw=100.0), 1.0)
    turned = sum(compose(state).yaw_rad for _ in range(50))
    assert turned == pytest.approx(CONFIG.carry_frames * MAX_TURN_RAD)


def test_lost_inputs_cost_no_turn(state: InputState) -> None:
    for seq in (1, 2, 5, 9):  # 3, 4, 6, 7, 8 were lost on the way
        state.receive(Input(seq=seq, yaw=0.01 * seq), 1.0)
    assert compose(state).yaw_rad == pytest.approx(0.09)


def test_a_baseline_does_not_count(state: InputState) -> None:
    state.begin(Input(seq=40, keys=frozenset({"forward"}), yaw=3.0))
    assert compose(state) == Action()
    assert not state.receive(keys(40, "left"), 1.0)
    state.receive(Input(seq=41, yaw=3.1), 2.0)
    action = compose(state)
    assert action.yaw_rad == pytest.approx(0.1)
    assert action.input_id == 41


def test_beginning_again_forgets_what_was_owed(state: InputState) -> None:
    state.receive(Input(seq=1, keys=frozenset({"forward"}), yaw=0.7), 1.0)
    state.begin(Input(seq=1, yaw=0.7))
    assert compose(state) == Action()


_inputs = st.lists(
    st.builds(
        Input,
        seq=st.integers(1, 50),
        keys=st.frozensets(st.sampled_from(KEY_NAMES)),
        yaw=st.floats(-1e6, 1e6),
        pitch=st.floats(-1e6, 1e6),
        move=st.none() | st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    ),
    max_size=20,
)


@given(_inputs, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_no_action_exceeds_the_world(inputs: list[Input], max_step_m: float, max_turn_rad: float) -> None:
    state = InputState(CONFIG, max_step_m, max_turn_rad)
    for message in inputs:
        state.receive(message, 1.0)
        action = compose(state)
        assert math.hypot(action.right_m, action.forward_m) <= max_step_m + 1e-9
        assert abs(action.yaw_rad) <= max_turn_rad + 1e-9
        assert abs(action.pitch_rad) <= max_turn_rad + 1e-9


@given(st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=30))
def test_small_turns_arrive_in_full(path: list[float]) -> None:
    state = InputState(CONFIG, MAX_STEP_M, MAX_TURN_RAD)
    turned = yaw = 0.0
    for seq, delta in enumerate(path, start=1):
        yaw += delta
        state.receive(Input(seq=seq, yaw=yaw), 1.0)
        turned += compose(state).yaw_rad
    assert turned == pytest.approx(yaw, abs=1e-9)


def test_an_action_of_many_frames_is_as_many_times_as_long() -> None:
    one, twelve = InputState(CONFIG, 0.45, 0.1), InputState(CONFIG, 12 * 0.45, 12 * 0.1, frames=12)
    for state in (one, twelve):
        state.receive(Input(seq=1, keys=frozenset({"forward", "turn_right"})), 0.0)
    short, long = one.compose()[0], twelve.compose()[0]
    assert long.forward_m == pytest.approx(12 * short.forward_m)
    assert long.yaw_rad == pytest.approx(12 * short.yaw_rad)
