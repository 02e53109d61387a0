"""Pacing on a virtual clock: slots, skips, bursts and the speed ladder."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.config import PacingConfig
from worldstream.realtime.pacing import Ladder, Slot, bursts, first_slot, ladder, next_slot, observe

PERIOD_S = 1 / 24
CONFIG = PacingConfig()


def play(draw_s: list[float], period_s: float = PERIOD_S) -> tuple[list[float], int]:
    """(start times, skipped slots) of frames that take `draw_s` each."""
    now_s, slot, starts, skipped = 10.0, None, [], 0
    for busy_s in draw_s:
        slot = first_slot(now_s) if slot is None else next_slot(slot, period_s, now_s)
        starts.append(slot.start_s)
        skipped += slot.skipped
        now_s = slot.start_s + busy_s
    return starts, skipped


def test_a_fast_machine_keeps_the_grid() -> None:
    starts, skipped = play([0.010] * 48)
    assert starts == pytest.approx([10.0 + i * PERIOD_S for i in range(48)])
    assert skipped == 0


def test_the_first_frame_waits_for_nothing() -> None:
    assert first_slot(3.0).start_s == 3.0


def test_a_hiccup_is_caught_up() -> None:
    starts, skipped = play([0.010, 0.060, 0.010, 0.010])
    assert starts[2] == pytest.approx(10.0 + PERIOD_S + 0.060)  # late, so at once
    assert starts[3] == pytest.approx(10.0 + 3 * PERIOD_S)  # back on the grid
    assert skipped == 0


def test_a_long_stall_skips_and_never_piles_up() -> None:
    starts, skipped = play([0.010, 0.99, 0.010, 0.010, 0.010])
    assert skipped == 22
    gaps = [after - before for before, after in pairwise(starts[2:])]
    assert all(gap <= PERIOD_S + 1e-9 for gap in gaps)
    assert starts[4] - starts[2] > PERIOD_S  # not three frames at once


def test_a_slow_machine_runs_flat_out() -> None:
    starts, skipped = play([0.060] * 100)
    assert starts[-1] - starts[0] == pytest.approx(99 * 0.060)
    assert skipped == pytest.approx(99 * 0.060 / PERIOD_S - 99, abs=2)


@given(st.lists(st.floats(0.0, 0.5), min_size=2, max_size=60), st.floats(0.005, 0.2))
def test_frames_never_start_early_nor_overlap(draw_s: list[float], period_s: float) -> None:
    now_s, slot = 0.0, first_slot(0.0)
    for busy_s in draw_s:
        now_s = slot.start_s + busy_s
        after = next_slot(slot, period_s, now_s)
        assert after.start_s >= now_s
        assert after.start_s >= after.grid_s - 1e-9
        assert after.start_s - now_s <= period_s + 1e-9
        assert after.start_s - after.grid_s < period_s + 1e-9  # at most one frame behind
        slot = after


@given(st.integers(1, 400), st.floats(0.0, 0.020))
def test_bursts_cover_the_frame_within_the_spread(packets: int, spread_s: float) -> None:
    size, gap_s = bursts(packets, spread_s)
    gaps = -(-packets // size) - 1
    assert size >= 1
    assert gaps * gap_s <= spread_s + 1e-9
    assert gap_s == 0.0 or gap_s >= 0.002 - 1e-9 or gaps <= 1


def test_small_frames_leave_at_once() -> None:
    assert bursts(4, 0.020) == (4, 0.0)
    assert bursts(27, 0.0) == (27, 0.0)
    size, gap_s = bursts(27, 0.020)
    assert size <= 5
    assert gap_s > 0.0


# -- the ladder


def climb(state: Ladder, cost_s_per_step: float, seconds: float, now_s: float = 0.0) -> tuple[Ladder, float]:
    """Play on a machine on which a frame takes `cost_s_per_step` times the steps."""
    end_s = now_s + seconds
    while now_s < end_s:
        busy_s = cost_s_per_step * state.steps
        now_s += max(PERIOD_S, busy_s)
        state = observe(state, busy_s, PERIOD_S, now_s, CONFIG)
    return state, now_s


def test_a_fast_machine_stays_at_the_top() -> None:
    state, _ = climb(ladder((1, 2, 3, 4), CONFIG), 0.005, 60.0)
    assert state.steps == 4


def test_a_slow_machine_steps_down_until_it_fits() -> None:
    state, _ = climb(ladder((1, 2, 3, 4), CONFIG), 0.018, 30.0)
    assert state.steps == 2


def test_only_rungs_that_the_world_has_are_used() -> None:
    state, now_s = climb(ladder((1, 4), CONFIG), 0.015, 10.0)
    assert state.steps == 1
    state, now_s = climb(state, 0.010, 60.0, now_s)  # 4 steps would take 40 ms of 41.7
    assert state.steps == 1
    state, _ = climb(state, 0.005, 10.0, now_s)
    assert state.steps == 4


def test_one_step_is_the_floor() -> None:
    state, _ = climb(ladder((1, 2), CONFIG), 0.5, 60.0)
    assert state.steps == 1


def test_a_single_hiccup_changes_nothing() -> None:
    state, now_s = climb(ladder((1, 2), CONFIG), 0.012, 5.0)
    state = observe(state, 1.0, PERIOD_S, now_s + 1.0, CONFIG)
    state, _ = climb(state, 0.012, 5.0, now_s + 1.0)
    assert state.steps == 2


def test_headroom_brings_the_steps_back() -> None:
    state, now_s = climb(ladder((1, 2), CONFIG), 0.030, 10.0)
    assert state.steps == 1
    state, now_s = climb(state, 0.010, CONFIG.patience_s - 2.0, now_s)
    assert state.steps == 1
    state, _ = climb(state, 0.010, 6.0, now_s)
    assert state.steps == 2


def test_it_does_not_swing_when_the_costlier_rung_would_not_fit() -> None:
    state, now_s = climb(ladder((1, 2), CONFIG), 0.022, 10.0)
    assert state.steps == 1
    state, _ = climb(state, 0.022, 120.0, now_s)
    assert state.steps == 1


def test_a_step_up_that_was_taken_back_waits_longer_for_the_next() -> None:
    state, now_s = climb(ladder((1, 2), CONFIG), 0.030, 10.0)
    state, now_s = climb(state, 0.012, 15.0, now_s)
    assert state.steps == 2
    state, now_s = climb(state, 0.030, 6.0, now_s)
    assert state.steps == 1
    assert state.patience_s == 2 * CONFIG.patience_s
    state, now_s = climb(state, 0.012, CONFIG.patience_s + 4.0, now_s)
    assert state.steps == 1


def test_slots_are_plain_values() -> None:
    assert next_slot(Slot(0.0, 0.0, 0), 1.0, 0.5) == Slot(1.0, 1.0, 0)
