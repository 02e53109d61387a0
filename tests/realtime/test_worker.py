"""The worker on a virtual clock: whose turn, which frames, what is encoded, and what happens when the model fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.realtime.doubles import Clock
from tests.realtime.fake_world import FakePlayer, FakeWorld
from worldstream.realtime import stamp
from worldstream.realtime.config import ServerConfig
from worldstream.realtime.mailbox import (
    Broke,
    Continue,
    Drawn,
    Event,
    Hold,
    Noticed,
    Play,
    Renew,
    Say,
    Steer,
    StepsChanged,
    Stop,
    WantBitrate,
    WantFormats,
    WantKeyframe,
    WorldReady,
)
from worldstream.realtime.protocol import Input
from worldstream.realtime.worker import Worker
from worldstream.worlds.core import Action, Frame

PERIOD_S = 1 / 24
SMALL = FakeWorld(width_px=96, height_px=48)  # quick to paint, and as small as a stamp allows
BOTH = WantFormats(h264=True, jpeg=True)


class FailingWorld(FakeWorld):
    """Loads, but cannot draw."""

    def rollout(self) -> FakePlayer:
        return FailingPlayer(self)


class FailingPlayer(FakePlayer):
    def step(self, action: Action, decode: bool = True) -> Iterator[Frame]:
        raise RuntimeError("cannot draw")


class Bench:
    """A worker without a thread, driven by hand."""

    def __init__(self, clock: Clock, world: FakeWorld | None = None, stamped: bool = False) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.worker = Worker(world or SMALL, ServerConfig(stamp=stamped), clock)
        self.worker.emit = self.events.append

    @property
    def player(self) -> FakePlayer:
        player = self.worker._player
        assert isinstance(player, FakePlayer)
        return player

    def run(self, seconds: float) -> list[Drawn]:
        """Let the time pass; the pictures drawn meanwhile."""
        end_s, before = self.clock.now_s + seconds, len(self.drawn)
        while True:
            wait_s = self.worker.turn(self.clock.now_s)
            if wait_s is None or self.clock.now_s + wait_s >= end_s:
                self.clock.now_s = max(end_s, self.clock.now_s)
                return self.drawn[before:]
            self.clock.advance(wait_s)

    @property
    def drawn(self) -> list[Drawn]:
        return [event for event in self.events if isinstance(event, Drawn)]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock)


def test_nothing_is_drawn_while_nobody_plays(bench: Bench) -> None:
    assert bench.run(10.0) == []
    assert bench.worker.turn(bench.clock.now_s) is None  # sleeps until a command comes


def test_a_player_gets_24_frames_a_second(bench: Bench) -> None:
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 7, "forest", None))
    drawn = bench.run(2.0)
    assert len(drawn) == 48
    assert [item.frame for item in drawn] == list(range(1, 49))
    assert bench.of(WorldReady) == [WorldReady(1, 7, "forest", ("forest",))]
    assert drawn[0].h264 is not None
    assert drawn[0].h264.keyframe
    assert drawn[0].jpeg is not None


def test_only_what_somebody_watches_is_encoded(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    for formats in (WantFormats(False, False), WantFormats(True, False), WantFormats(False, True), BOTH):
        bench.worker.submit(formats)
        last = bench.run(0.5)[-1]
        assert (last.h264 is not None, last.jpeg is not None) == (formats.h264, formats.jpeg)


def test_whoever_comes_later_gets_a_key_frame(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.worker.submit(BOTH)
    bench.run(1.0)
    bench.worker.submit(WantFormats(h264=False, jpeg=True))
    bench.run(1.0)
    bench.worker.submit(BOTH)
    first = bench.run(0.1)[0].h264
    assert first is not None
    assert first.keyframe
    bench.run(1.0)
    bench.worker.submit(WantKeyframe())
    wanted = bench.run(0.1)[0].h264
    assert wanted is not None
    assert wanted.keyframe


def test_inputs_steer_the_next_frame(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(1.0)
    assert bench.drawn[-1].input_id == 0
    bench.worker.submit(Steer(Input(seq=5, keys=frozenset({"forward"})), bench.clock.now_s))
    (first, *_) = bench.run(0.1)
    assert first.input_id == 5
    assert bench.player.camera.z_m > 0.0
    assert first.server_ms <= 1e3 * PERIOD_S + 1e-6


def test_server_time_counts_from_the_input_only_once(clock: Clock) -> None:
    bench = Bench(clock, replace(SMALL, draw_s=0.01, wait=clock.advance))
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(1.0)
    bench.worker.submit(Steer(Input(seq=1, keys=frozenset({"forward"})), clock.now_s - 0.005))
    fresh, *later = bench.run(0.5)
    assert fresh.server_ms >= 25.0  # 5 ms on the way here and 20 ms of drawing
    assert all(item.server_ms == pytest.approx(20.0, abs=0.1) for item in later)


def test_a_held_world_stands_still_and_goes_on(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(1.0)
    index = bench.player.index
    bench.worker.submit(Hold())
    assert bench.run(30.0) == []
    bench.worker.submit(Continue(Input(seq=9, keys=frozenset({"forward"}), yaw=2.0)))
    resumed = bench.run(0.5)
    assert bench.player.index == index + len(resumed)
    assert len(resumed) in (12, 13)  # no catching up on the 30 seconds
    assert bench.player.camera.yaw_rad == 0.0  # what the mouse did meanwhile does not count
    assert resumed[0].input_id == 0


def test_stop_ends_the_turn(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(0.5)
    bench.worker.submit(Stop())
    assert bench.run(5.0) == []


def test_a_new_prompt_reaches_the_model_once(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "forest", None))
    bench.run(0.5)
    bench.worker.submit(Say("desert"))
    bench.run(0.5)
    assert bench.player.prompts == ["forest", "desert"]
    assert bench.of(WorldReady)[-1] == WorldReady(1, 7, "desert", ("desert",))


def test_a_new_world_starts_over_but_frames_keep_counting(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "forest", None))
    last = bench.run(0.5)[-1]
    bench.worker.submit(Renew(8, "desert"))
    first = bench.run(0.1)[0]
    assert first.frame == last.frame + 1
    assert first.media_time_s == 0.0
    assert bench.of(WorldReady)[-1] == WorldReady(1, 8, "desert", ("desert",))


def test_a_failing_model_ends_the_turn_and_nothing_else(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(0.5)
    bench.worker.submit(Renew(1, "please fail"))
    assert bench.run(1.0) == []
    (broke,) = bench.of(Broke)
    assert isinstance(broke, Broke)
    assert broke.turn == 1
    assert broke.error.id in caplog.text
    bench.worker.submit(Play(2, 7, "", None))
    assert len(bench.run(1.0)) == 24


def test_a_slow_machine_takes_fewer_steps_and_keeps_the_world(clock: Clock) -> None:
    bench = Bench(clock, replace(SMALL, steps=4, draw_s=0.018, wait=clock.advance))
    bench.worker.submit(Play(1, 7, "", None))
    bench.worker.submit(Steer(Input(seq=1, keys=frozenset({"forward"})), clock.now_s))
    bench.run(30.0)
    changes = bench.of(StepsChanged)
    assert changes == [StepsChanged(3, lower=True), StepsChanged(2, lower=True)]
    assert bench.drawn[-1].steps == 2
    assert bench.player.index == len(bench.drawn)  # the rollout went on, it did not start over
    assert sum(item.skipped for item in bench.drawn) > 0
    rate = len(bench.run(10.0)) / 10.0
    assert rate == pytest.approx(24.0, abs=0.3)


CHUNKED = replace(SMALL, fps=16.0, frames_per_step=12, controls=("words",))


def test_a_world_of_chunks_is_stepped_at_its_own_pace(clock: Clock) -> None:
    bench = Bench(clock, CHUNKED)
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 5, "forest", None))
    bench.run(1.6)  # a chunk is 0.75 s
    assert len(bench.drawn) == 3 * 12
    assert [d.media_time_s for d in bench.drawn[:3]] == pytest.approx([0.0, 1 / 16, 2 / 16])


def test_a_chunk_answers_an_input_once(clock: Clock) -> None:
    bench = Bench(clock, CHUNKED)
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 5, "forest", None))
    bench.worker.submit(Steer(Input(seq=1, keys=frozenset({"forward"})), clock()))
    bench.run(0.1)
    chunk = bench.drawn[-12:]
    assert [d.input_id for d in chunk] == [1] * 12
    assert [d.fresh for d in chunk] == [True] + [False] * 11


def test_a_cut_is_told(clock: Clock) -> None:
    bench = Bench(clock, CHUNKED)
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 5, "forest", None))
    bench.run(0.1)
    before = bench.drawn[-1].scene
    bench.worker.submit(Renew(5, "desert", None))
    bench.run(0.1)
    assert bench.drawn[-1].scene == before + 1


def test_a_world_without_words_says_so(clock: Clock) -> None:
    bench = Bench(clock, replace(SMALL, controls=("walk", "look", "picture")))
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 5, "forest", None))
    bench.worker.submit(Say("night"))
    bench.run(0.1)
    assert [e.code for e in bench.events if isinstance(e, Noticed)] == ["no_words"]
    assert not any(isinstance(e, WorldReady) and e.prompt == "night" for e in bench.events)


def test_stamped_pictures_carry_frame_and_input(clock: Clock) -> None:
    import av

    bench = Bench(clock, stamped=True)
    bench.worker.submit(WantFormats(h264=False, jpeg=True))
    bench.worker.submit(Play(1, 7, "", None))
    bench.worker.submit(Steer(Input(seq=77), clock.now_s))
    last = bench.run(0.5)[-1]
    assert last.jpeg is not None
    (picture,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(last.jpeg))
    assert isinstance(picture, av.VideoFrame)
    assert stamp.read(picture.to_ndarray(format="rgb24").astype(np.uint8)) == (last.frame, 77)


def test_a_storm_of_resets_makes_one_world(bench: Bench) -> None:
    bench.worker.submit(Play(1, 7, "", None))
    bench.run(0.5)
    for seed in range(1000):
        bench.worker.submit(Renew(seed, "forest"))
        bench.worker.submit(Say(f"prompt {seed}"))
    bench.run(0.1)
    worlds = [event for event in bench.of(WorldReady) if isinstance(event, WorldReady)]
    assert [(world.seed, world.prompt) for world in worlds] == [(7, ""), (999, "forest"), (999, "prompt 999")]


def test_a_model_that_cannot_draw_is_known_at_the_start() -> None:
    worker = Worker(FailingWorld(), ServerConfig(), lambda: 0.0)
    with pytest.raises(RuntimeError, match="cannot draw"):
        worker.start(lambda event: None).result(10.0)
    worker.stop()


def test_the_bitrate_is_reported_with_the_picture(bench: Bench) -> None:
    bench.worker.submit(BOTH)
    bench.worker.submit(Play(1, 7, "", None))
    bench.worker.submit(WantBitrate(700_000))
    assert bench.run(0.1)[0].bitrate_bps == 700_000


def test_drift_is_reported_with_the_picture(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    step = FakePlayer.step

    def strayed(self: FakePlayer, action: Action) -> Iterator[Frame]:
        for frame in step(self, action):
            yield replace(frame, drift="lost", reanchored=3)

    monkeypatch.setattr(FakePlayer, "step", strayed)
    bench.worker.submit(Play(1, 7, "", None))
    assert {(item.drift, item.reanchored) for item in bench.run(0.2)} == {("lost", 3)}


def test_on_its_thread_it_draws_in_real_time_and_stops() -> None:
    import time

    world = replace(SMALL, fps=100.0)
    worker = Worker(world, ServerConfig(), time.monotonic)
    enough = threading.Event()
    seen: list[Drawn] = []

    def emit(event: Event) -> None:
        if isinstance(event, Drawn):
            seen.append(event)
            if len(seen) == 20:
                enough.set()

    worker.start(emit).result(10.0)
    worker.submit(Play(1, 7, "", None))
    assert enough.wait(10.0)
    worker.stop()
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) == count
    worker.stop()  # twice is harmless
