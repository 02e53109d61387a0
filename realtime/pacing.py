"""When the next frame must start, and what to do when it is late: pure functions of (times, now).

Frames start on a grid of slots, one period apart. A frame that is a little late starts at once and the grid stays, so
that a hiccup is caught up; a frame that missed whole slots skips them. Frames never pile up: there is never more than
one late frame to draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .config import PacingConfig


@dataclass(frozen=True, slots=True)
class Slot:
    """One frame's place on the grid."""

    start_s: float  # when drawing starts: never before its place on the grid
    grid_s: float  # its place on the grid
    skipped: int  # whole slots that were given up before it


def first_slot(now_s: float) -> Slot:
    """Begin a grid now: the first frame waits for nothing."""
    return Slot(now_s, now_s, 0)


def next_slot(previous: Slot, period_s: float, now_s: float) -> Slot:
    """The slot after `previous`, as seen at `now_s`. `period_s` > 0."""
    due_s = previous.grid_s + period_s
    late_s = now_s - due_s
    if late_s < period_s:
        return Slot(max(now_s, due_s), due_s, 0)
    skipped = math.floor(late_s / period_s)
    return Slot(now_s, due_s + skipped * period_s, skipped)


def bursts(packets: int, spread_s: float, first: int = 4, least_gap_s: float = 0.002) -> tuple[int, float]:
    """How a frame of `packets` leaves: (packets per burst, seconds between bursts).

    Up to `first` packets leave at once. More of them are spread over `spread_s`, in bursts no closer than
    `least_gap_s`, because timers are no finer.
    """
    if packets <= first or spread_s <= 0.0:
        return max(packets, 1), 0.0
    gaps = max(1, min(math.floor(spread_s / least_gap_s), math.ceil(packets / first) - 1))
    return math.ceil(packets / (gaps + 1)), spread_s / gaps


@dataclass(frozen=True, slots=True)
class Ladder:
    """How many denoising steps this machine can afford. Immutable: `observe` returns the next state."""

    rungs: tuple[int, ...]  # the numbers of steps that the world can run at, fewest first
    rung: int  # index of the current one
    patience_s: float
    load: float | None = None  # smoothed share of the frame period that drawing uses
    late_since_s: float | None = None
    roomy_since_s: float | None = None
    raised_at_s: float | None = None  # when the last step up was taken, to tell whether it held

    @property
    def steps(self) -> int:
        return self.rungs[self.rung]


def ladder(rungs: tuple[int, ...], config: PacingConfig) -> Ladder:
    """At the top of `rungs`, which rise."""
    return Ladder(rungs=rungs, rung=len(rungs) - 1, patience_s=config.patience_s)


def observe(state: Ladder, busy_s: float, period_s: float, now_s: float, config: PacingConfig) -> Ladder:
    """Account for one frame that took `busy_s`. The result's `steps` differs from `state.steps` where it is time."""
    load = busy_s / period_s
    weight = min(1.0, 2.0 * max(period_s, busy_s) / config.window_s)  # by time: slow frames are few, and say more
    smooth = load if state.load is None else state.load + weight * (min(load, 2.0) - state.load)
    late = smooth > config.late_load and state.rung > 0
    above = state.rungs[min(state.rung + 1, len(state.rungs) - 1)]
    roomy = above > state.steps and smooth * above / state.steps < config.headroom_load
    state = replace(
        state,
        load=smooth,
        late_since_s=_since(state.late_since_s, late, now_s),
        roomy_since_s=_since(state.roomy_since_s, roomy, now_s),
    )
    if state.late_since_s is not None and now_s - state.late_since_s >= config.window_s:
        return _down(state, now_s, config)
    if state.roomy_since_s is not None and now_s - state.roomy_since_s >= state.patience_s:
        return _moved(state, state.rung + 1, state.patience_s, raised_at_s=now_s)
    return state


def _down(state: Ladder, now_s: float, config: PacingConfig) -> Ladder:
    # A step up that had to be taken back soon was a mistake: wait longer before the next.
    regretted = state.raised_at_s is not None and now_s - state.raised_at_s < 4.0 * state.patience_s
    patience_s = min(2.0 * state.patience_s, config.max_patience_s) if regretted else config.patience_s
    return _moved(state, state.rung - 1, patience_s, raised_at_s=None)


def _moved(state: Ladder, rung: int, patience_s: float, raised_at_s: float | None) -> Ladder:
    return Ladder(state.rungs, rung, patience_s, raised_at_s=raised_at_s)


def _since(start_s: float | None, holds: bool, now_s: float) -> float | None:
    if not holds:
        return None
    return now_s if start_s is None else start_s
