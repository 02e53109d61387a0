"""Frames that come in chunks leave one after another, on a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.doubles import Clock
from worldstream.realtime.mailbox import Drawn, Event, StepsChanged
from worldstream.realtime.playout import Playout

FPS, CHUNK = 16.0, 12


@dataclass
class Call:
    """A call to come; also the handle that takes it back."""

    run: Callable[[], None]
    off: bool = False

    def cancel(self) -> None:
        self.off = True


@dataclass
class Loop:
    """An event loop's timers on a virtual clock."""

    clock: Clock = field(default_factory=Clock)
    calls: list[tuple[float, int, Call]] = field(default_factory=list)
    order: count[int] = field(default_factory=count)

    def later(self, seconds: float, run: Callable[[], None]) -> Call:
        call = Call(run)
        heapq.heappush(self.calls, (self.clock.now_s + seconds, next(self.order), call))
        return call

    def run_until(self, end_s: float) -> None:
        while self.calls and self.calls[0][0] <= end_s:
            at_s, _, call = heapq.heappop(self.calls)
            self.clock.now_s = max(self.clock.now_s, at_s)
            if not call.off:
                call.run()
        self.clock.now_s = max(self.clock.now_s, end_s)


@dataclass
class Bench:
    """A playout, what it showed, and when."""

    chunk: int = CHUNK
    loop: Loop = field(default_factory=Loop)
    shown: list[tuple[float, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.playout = Playout(self._see, FPS, self.chunk, self.loop.clock, self.loop.later)

    def _see(self, event: Event) -> None:
        self.shown.append((self.loop.clock.now_s, event))

    def draw(self, first: int, frames: int, scene: int = 0) -> None:
        for frame in range(first, first + frames):
            self.playout.on_event(picture(frame, scene))

    @property
    def frames(self) -> list[int]:
        return [event.frame for _, event in self.shown if isinstance(event, Drawn)]


def picture(frame: int, scene: int = 0) -> Drawn:
    return Drawn(turn=1, frame=frame, input_id=0, media_time_s=frame / FPS, server_ms=1.0, scene=scene)


def test_a_chunk_is_spread_over_its_time() -> None:
    bench = Bench()
    bench.draw(0, CHUNK)
    bench.loop.run_until(110.0)
    assert bench.frames == list(range(CHUNK))
    assert [at for at, _ in bench.shown] == pytest.approx([100.0 + i / FPS for i in range(CHUNK)])


def test_chunks_that_come_in_time_join_without_a_gap() -> None:
    bench = Bench()
    for k in range(5):
        bench.loop.run_until(100.0 + k * CHUNK / FPS)
        bench.draw(k * CHUNK, CHUNK)
    bench.loop.run_until(120.0)
    assert bench.frames == list(range(5 * CHUNK))
    times = [at for at, _ in bench.shown]
    assert all(b - a == pytest.approx(1 / FPS, rel=0.06) for a, b in pairwise(times))


@given(st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=40))
def test_order_and_pace_hold_whatever_the_jitter(jitter: list[float]) -> None:
    """Every frame is shown once, in order, never two at once, and delay does not grow with the length of the walk."""
    bench = Bench()
    for k, late_s in enumerate(jitter):
        bench.loop.run_until(101.0 + k * CHUNK / FPS + late_s)
        bench.draw(k * CHUNK, CHUNK)
    end_s = bench.loop.clock.now_s
    bench.loop.run_until(end_s + 10.0)
    assert bench.frames == list(range(len(jitter) * CHUNK))
    times = [at for at, _ in bench.shown]
    assert all(b - a >= 0.9 / FPS for a, b in pairwise(times))
    assert times[-1] <= end_s + (CHUNK - 1) / FPS + 0.4 + 1e-6


def test_delay_from_one_late_chunk_is_made_up_for() -> None:
    bench = Bench()
    for k in range(30):
        bench.loop.run_until(100.0 + k * CHUNK / FPS + (0.3 if k == 1 else 0.0))
        bench.draw(k * CHUNK, CHUNK)
    bench.loop.run_until(200.0)
    delay = [at - (100.0 + frame / FPS) for (at, _), frame in zip(bench.shown, bench.frames, strict=True)]
    assert max(delay) == pytest.approx(0.3, abs=0.01)
    assert delay[-1] < 1 / FPS


def test_a_cut_displaces_what_waits() -> None:
    bench = Bench()
    bench.draw(0, CHUNK)
    bench.loop.run_until(100.1)
    bench.draw(CHUNK, CHUNK, scene=1)
    bench.loop.run_until(110.0)
    assert bench.frames == [0, 1, *range(CHUNK, 2 * CHUNK)]
    assert bench.shown[2][0] == pytest.approx(100.1), "the new world is shown at once"


def test_what_is_no_picture_does_not_wait() -> None:
    bench = Bench()
    bench.draw(0, CHUNK)
    bench.playout.on_event(StepsChanged(3, lower=True))
    assert isinstance(bench.shown[-1][1], StepsChanged)
    assert len(bench.shown) == 2


def test_single_frames_pass_through() -> None:
    bench = Bench(chunk=1)
    bench.draw(0, 3)
    assert bench.frames == [0, 1, 2]
    assert not bench.loop.calls


def test_a_loop_that_was_held_up_shows_no_burst() -> None:
    bench = Bench()
    bench.draw(0, CHUNK)
    bench.loop.clock.advance(0.5)  # nobody ran the timers
    bench.loop.run_until(bench.loop.clock.now_s)
    assert len(bench.frames) <= 3
    bench.loop.run_until(110.0)
    assert bench.frames == list(range(CHUNK))


def test_clearing_stops_the_clock() -> None:
    bench = Bench()
    bench.draw(0, CHUNK)
    bench.playout.clear()
    bench.loop.run_until(110.0)
    assert bench.frames == [0]
