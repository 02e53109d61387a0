"""Where a walk has been: moments, branches and their budgets, whatever a player asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from tests.realtime.fake_world import FakePlayer, FakeWorld
from worldstream.realtime.config import TimelineConfig
from worldstream.realtime.errors import NoSuchMoment
from worldstream.realtime.redraw import Redraw
from worldstream.realtime.timeline import Timeline
from worldstream.worlds.action_log import LogHeader
from worldstream.worlds.core import Action

HEADER = LogHeader("fake", "f" * 64, "none", 2, 25.0, 7, "")
WORLD = FakeWorld(width_px=8, height_px=8)


@dataclass(frozen=True)
class State:
    """A snapshot of a known size: the actions so far, and ballast."""

    seen: tuple[float, ...]
    ballast: np.ndarray[tuple[int], np.dtype[np.uint8]]


class Walker(FakePlayer):
    """Remembers what it did, so that two ways to the same moment can be compared."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.seen: tuple[float, ...] = ()

    def reset(self, seed: int, prompt: str, image: NDArray[np.uint8] | None = None) -> None:
        self.seen = ()

    def walk(self, forward_m: float) -> Action:
        self.seen = (*self.seen, forward_m)
        return Action(forward_m=forward_m)

    def snapshot(self) -> State:  # type: ignore[override]
        return State(self.seen, np.zeros(1000, np.uint8))

    def restore(self, state: State) -> None:  # type: ignore[override]
        self.seen = state.seen


def walked(timeline: Timeline, player: Walker, frames: int, forward_m: float = 0.1) -> None:
    for _ in range(frames):
        timeline.record(player.walk(forward_m), 2, player)


def begun(**changes: float) -> tuple[Timeline, Walker]:
    config = replace(TimelineConfig(snapshot_bytes=100_000), **changes)  # type: ignore[arg-type]
    return Timeline(HEADER, config), Walker()


def arrive(timeline: Timeline, player: Walker) -> int:
    """Put the player where the timeline is; how many frames had to be drawn again."""
    at, state = timeline.nearest()
    player.seen = state.seen if state is not None else ()
    for frame in range(at, timeline.now):
        player.walk(timeline.path.recording.entry(frame)[0].forward_m)
    return timeline.now - at


def test_a_moment_is_a_second_away_at_most() -> None:
    timeline, player = begun()
    walked(timeline, player, 1000)
    before = player.seen
    for moment in (1000, 999, 926, 480, 3, 0):
        timeline.rewind(moment, player)
        assert arrive(timeline, player) < 25
        assert player.seen == before[:moment]


def test_what_was_left_can_be_gone_back_to_at_once() -> None:
    timeline, player = begun()
    walked(timeline, player, 110)
    first = player.seen
    timeline.rewind(40, player)
    arrive(timeline, player)
    walked(timeline, player, 30, -0.2)
    second = player.seen
    (left,) = timeline.branches()
    assert (left.start, left.end) == (40, 110)
    timeline.enter(left.id, player)
    assert arrive(timeline, player) == 0
    assert player.seen == first
    (other,) = timeline.branches()
    assert (other.start, other.end) == (40, 70)
    timeline.enter(other.id, player)
    assert arrive(timeline, player) == 0
    assert player.seen == second


def test_standing_still_is_not_worth_a_branch() -> None:
    timeline, player = begun()
    walked(timeline, player, 100)
    timeline.rewind(60, player)
    arrive(timeline, player)
    walked(timeline, player, 10, 0.0)
    timeline.rewind(50, player)
    assert [(b.start, b.end) for b in timeline.branches()] == [(50, 100)]


def test_unknown_moments_and_branches_are_refused_and_nothing_changes() -> None:
    timeline, player = begun()
    walked(timeline, player, 30)
    for moment in (31, 2**32 - 1):
        with pytest.raises(NoSuchMoment, match=f"the moments 0 to 30; {moment} is not"):
            timeline.rewind(moment, player)
    with pytest.raises(NoSuchMoment, match="the branches none; 9 is not"):
        timeline.enter(9, player)
    assert (timeline.now, timeline.branches()) == (30, ())


def test_the_newest_minute_is_dense_and_the_budget_holds_over_an_hour() -> None:
    timeline, player = begun(snapshot_bytes=86_000)
    player.seen = ()
    for frame in range(25 * 3600):
        action = Action(forward_m=0.1)
        timeline.record(action, 2, player)
        if frame % 5000 == 0:
            assert len(timeline.path.moments) <= 86
    kept = sorted(timeline.path.moments)
    gaps = np.diff([0, *kept, timeline.now])
    age_s = (timeline.now - np.array([0, *kept])) / 25
    assert gaps[age_s < 60].max() <= 6 * 25
    assert gaps.max() <= 300 * 25
    assert gaps[age_s < 60].mean() < gaps[age_s > 600].mean() / 5


def test_a_log_that_is_full_is_not_added_to_and_time_goes_on() -> None:
    timeline, player = begun(log_bytes=400)
    walked(timeline, player, 40)
    assert 0 < timeline.now < 40
    assert timeline.unrecorded == 40 - timeline.now
    end = timeline.now
    timeline.rewind(end, player)
    assert timeline.lost == 40 - end
    timeline.rewind(2, None)
    assert timeline.lost == 40 - 2
    walked(timeline, player, 1)
    assert timeline.now == 3


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_branches_stay_within_their_number(most: int, ways: list[int]) -> None:
    timeline, player = begun(branches=most)
    walked(timeline, player, 10)
    for length in ways:
        timeline.rewind(5, player)
        arrive(timeline, player)
        walked(timeline, player, length)
    assert len(timeline.branches()) == min(most, len(ways))


class AnyWay(RuleBasedStateMachine):
    """Walk, go back, return to branches: the player is always where the log says, and the budget holds."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline, self.player = begun(snapshot_bytes=12_000, branches=4)
        self.total = 0  # frames ever drawn: media time
        self.ways: dict[int, tuple[float, ...]] = {}

    @rule(frames=st.integers(1, 70), forward_m=st.sampled_from([0.0, 0.1, -0.3]))
    def walk(self, frames: int, forward_m: float) -> None:
        walked(self.timeline, self.player, frames, forward_m)
        self.total += frames

    @rule(share=st.floats(0, 1))
    def go_back(self, share: float) -> None:
        moment = round(share * self.timeline.now)
        expected = self.player.seen[:moment]
        self.timeline.rewind(moment, self.player)
        arrive(self.timeline, self.player)
        assert self.player.seen == expected

    @precondition(lambda self: self.timeline.branches())
    @rule(data=st.data())
    def return_to_a_branch(self, data: st.DataObject) -> None:
        before = self.player.seen
        branch = data.draw(st.sampled_from(self.timeline.branches()))
        self.timeline.enter(branch.id, self.player)
        assert arrive(self.timeline, self.player) == 0
        assert len(self.player.seen) == branch.end
        assert self.player.seen[: branch.start] == before[: branch.start]

    @invariant()
    def the_log_says_where_the_player_is(self) -> None:
        recording = self.timeline.path.recording
        assert tuple(recording.entry(i)[0].forward_m for i in range(len(recording))) == self.player.seen
        assert self.timeline.now + self.timeline.lost == self.total

    @invariant()
    def budgets_hold(self) -> None:
        held = [item.parts for item in self.timeline._held().values()]
        assert self.timeline._held_bytes() == sum({key: size for parts in held for key, size in parts.items()}.values())
        assert self.timeline._held_bytes() <= 12_000
        assert len(self.timeline.left) <= 4
        ids = [path.id for path in (self.timeline.path, *self.timeline.left)]
        assert len(set(ids)) == len(ids)


TestAnyWay = AnyWay.TestCase
TestAnyWay.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_long_way_is_drawn_in_slices() -> None:
    timeline, player = begun(snapshot_bytes=0)
    walked(timeline, player, 100)
    redraw = Redraw(WORLD, timeline)
    assert (redraw.start, redraw.target) == (0, 100)
    ticks = iter(range(10_000))
    slices = 0
    while not redraw.slice(lambda: next(ticks), 9.0):
        slices += 1
        assert redraw.share == pytest.approx(slices * 0.09)
    assert slices == 11
    assert redraw.share == 1.0
