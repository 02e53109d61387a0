"""The worker with a real network and the eager engine: a live session and its log are the same frames, bit for bit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.realtime.doubles import Clock
from tests.worlds.conftest import one_thread as one_thread
from tests.worlds.tiny_world import WORLD
from tests.worlds.tiny_world import world as tiny_world
from worldstream.realtime import pacing
from worldstream.realtime.archive import Archive
from worldstream.realtime.config import PacingConfig, ServerConfig, TimelineConfig
from worldstream.realtime.mailbox import (
    Broke,
    Event,
    GoToBranch,
    LogTaken,
    Noticed,
    Play,
    Refused,
    Renew,
    Rewind,
    Say,
    Steer,
    Stop,
    TakeLog,
    TakeOver,
    TimelineChanged,
    WorldReady,
)
from worldstream.realtime.protocol import Input
from worldstream.realtime.worker import Worker
from worldstream.worlds import action_log, film
from worldstream.worlds.core import Frame

SESSION = "a-session-id"


def digest(rgb: NDArray[np.uint8]) -> str:
    return hashlib.sha256(rgb.tobytes()).hexdigest()


class Bench(Worker):
    """A worker driven by hand that remembers what every frame showed."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.archive = Archive(folder, TimelineConfig(), lambda: 1e9)
        config = ServerConfig(timeline=TimelineConfig(every_s=0.4), pacing=PacingConfig(window_s=0.5, patience_s=1.0))
        super().__init__(tiny_world(), config, clock, self.archive)
        self.clock = clock
        self.events: list[Event] = []
        self.emit = self.events.append
        self.shown: list[str] = []
        self.media_s: list[float] = []
        self.draw_s = 0.0
        self.seq = 0

    def _publish(self, frame: Frame, since_s: float, fresh: bool, slot: pacing.Slot) -> None:
        self.clock.advance(self.draw_s)
        self.shown.append(digest(frame.rgb))
        self.media_s.append(frame.media_time_s + self._walk.lost_s)

    def play(self, seed: int = 5, prompt: str = "forest", replay: str = "", turn: int = 1) -> None:
        self.submit(Play(turn, seed, prompt, None, SESSION, replay))

    def run(self, frames: int) -> list[str]:
        """Draw so many frames; what they showed."""
        before = len(self.shown)
        while len(self.shown) < before + frames:
            wait_s = self.turn(self.clock.now_s)
            assert wait_s is not None, self.events[-3:]
            self.clock.advance(wait_s)
        return self.shown[before:]

    def hold(self, *keys: str, yaw: float = 0.0) -> None:
        self.seq += 1
        self.submit(Steer(Input(seq=self.seq, keys=frozenset(keys), yaw=yaw), self.clock.now_s))

    def walk(self, frames: int, *keys: str, yaw: float = 0.0) -> list[str]:
        self.hold(*keys, yaw=yaw)
        return self.run(frames)

    def log(self) -> bytes:
        self.submit(TakeLog("live"))
        self._drain()
        taken = [event for event in self.events if isinstance(event, LogTaken) and event.ticket == "live"][-1]
        assert taken.content is not None
        return taken.content

    def told(self) -> TimelineChanged:
        return [event for event in self.events if isinstance(event, TimelineChanged)][-1]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench(clock: Clock, tmp_path: Path) -> Bench:
    return Bench(clock, tmp_path / "sessions")


def replayed(content: bytes) -> list[str]:
    """As `worldstream replay` draws it, by another world made from the same weights."""
    return [digest(rgb) for rgb in film.frames(tiny_world(), action_log.parse(content, "x"))]


def test_a_live_session_replays_bit_for_bit(bench: Bench) -> None:
    """Keys, mouse, a change of words, and a speed ladder that goes down and up again."""
    bench.play()
    bench.run(3)
    bench.walk(20, "forward", yaw=0.1)
    bench.submit(Say("desert at dusk"))
    bench.walk(10, "left", yaw=-0.2)
    bench.draw_s = 0.06  # late: the ladder goes down
    bench.walk(20, "back", "turn_left", yaw=-0.2)
    assert bench._world.steps == 1
    bench.draw_s = 0.0
    bench.walk(40, "forward")
    assert bench._world.steps == 2
    content = bench.log()
    log = action_log.parse(content, "x")
    assert [steps for _, steps in log.changes] == [1, 2]
    assert log.actions[23].prompt == "desert at dusk"
    assert replayed(content) == bench.shown
    assert len(set(bench.shown)) == len(bench.shown), "frames that never change prove nothing"


def test_the_log_is_handed_over_when_the_walk_ends(bench: Bench) -> None:
    bench.play()
    bench.walk(5, "forward")
    bench.submit(Stop())
    assert bench.turn(bench.clock.now_s) is None
    (taken,) = bench.of(LogTaken)
    assert isinstance(taken, LogTaken)
    assert taken.ticket == SESSION
    assert taken.content is not None
    assert replayed(taken.content) == bench.shown
    bench.submit(TakeLog("late"))
    bench.turn(bench.clock.now_s)
    assert bench.of(LogTaken)[-1] == LogTaken("late", None)


def test_going_back_and_elsewhere_is_a_walk_of_its_own(bench: Bench) -> None:
    bench.play()
    first = bench.walk(37, "forward")
    bench.submit(Rewind(23))
    second = bench.walk(20, "turn_left")
    assert second[0] != first[23], "another way"
    assert replayed(bench.log()) == first[:23] + second
    (branch,) = bench.told().branches
    assert (branch.start, branch.end) == (23, 37)
    bench.submit(GoToBranch(branch.id))
    third = bench.walk(9, "forward")
    assert replayed(bench.log()) == first + third, "the way that was left goes on as if it had not been"
    again = replay_of(bench, first)
    assert third == again[37:46]


def replay_of(bench: Bench, first: list[str]) -> list[str]:
    """Forty-six frames forward in one go, by another worker."""
    other = Bench(Clock(), Path("unused"))
    other.play()
    whole = other.walk(46, "forward")
    assert whole[: len(first)] == first
    return whole


def test_the_same_actions_after_going_back_give_the_same_frames(bench: Bench) -> None:
    bench.play()
    first = bench.walk(30, "forward")
    for moment in (30, 24, 11, 1, 0):
        bench.submit(Rewind(moment))
        assert bench.run(30 - moment) == first[moment:], moment


def test_going_back_crosses_changes_of_words_and_steps(bench: Bench) -> None:
    bench.play()
    bench.walk(12, "forward")
    bench.submit(Say("desert"))
    bench.walk(12, "forward")
    bench.draw_s = 0.06
    bench.walk(20, "forward")
    assert bench._world.steps == 1
    before = list(bench.shown)
    bench.submit(Rewind(16))
    bench.draw_s = 0.0
    after = bench.walk(5, "right")
    assert [event.prompt for event in bench.of(WorldReady) if isinstance(event, WorldReady)][-1] == "desert"
    assert replayed(bench.log()) == before[:16] + after
    bench.submit(Rewind(7))
    bench.run(1)
    assert [event.prompt for event in bench.of(WorldReady) if isinstance(event, WorldReady)][-1] == "forest"


def test_time_on_the_wire_never_goes_back(bench: Bench) -> None:
    bench.play()
    bench.walk(30, "forward")
    bench.submit(Rewind(4))
    bench.run(5)
    bench.submit(GoToBranch(bench.told().branches[0].id))
    bench.run(5)
    steps = np.diff(bench.media_s)
    assert np.allclose(steps, 1 / WORLD.fps), steps


def test_a_hostile_moment_is_refused_and_the_walk_goes_on(bench: Bench) -> None:
    bench.play()
    first = bench.walk(5, "forward")
    for command in (Rewind(6), Rewind(2**32 - 1), GoToBranch(0), GoToBranch(77)):
        bench.submit(command)
        first += bench.run(1)
    refused = [event for event in bench.of(Refused) if isinstance(event, Refused)]
    assert [event.error.code for event in refused] == ["no_such_moment"] * 4
    assert not bench.of(Broke)
    assert replayed(bench.log()) == first


def test_a_storm_of_rewinds_makes_one(bench: Bench) -> None:
    bench.play()
    bench.walk(20, "forward")
    for moment in range(20):
        bench.submit(Rewind(moment))
    bench.run(1)
    assert bench.told().now in (19, 20)
    assert len(bench.told().branches) == 1


def test_the_way_to_a_far_moment_is_told_and_can_be_left(clock: Clock, tmp_path: Path) -> None:
    bench = Bench(clock, tmp_path)
    bench._walk._config = replace(TimelineConfig(), snapshot_bytes=0)
    bench.play()
    first = bench.walk(50, "forward")
    ticking = iter(range(10**6))
    bench._clock = lambda: next(ticking) * 0.004
    bench.submit(Rewind(40))
    shares = []
    while (wait_s := bench.turn(clock.now_s)) == 0.0 and bench._walk.redraw is not None:
        shares.append(bench.told().progress)
    assert wait_s is not None
    told = [share for share in shares if share is not None]
    assert len(told) >= 4
    assert told == sorted(told)
    bench.submit(Rewind(38))
    bench.turn(clock.now_s)
    bench.submit(Rewind(30))  # changed their mind on the way
    assert bench.run(1)[0] == first[30]


def kept(bench: Bench, content: bytes, id: str = "kept-walk-1") -> str:
    bench.archive.keep(id, content)
    return id


def walked(tmp_path: Path) -> tuple[list[str], bytes]:
    """A session of somebody else's: its frames and its log."""
    other = Bench(Clock(), tmp_path / "other")
    other.play(9, "canyon")
    other.walk(10, "forward", yaw=0.3)
    other.submit(Say("snow"))
    other.draw_s = 0.06
    other.walk(20, "right", yaw=0.3)
    return other.shown, other.log()


def test_a_shared_walk_is_drawn_again_until_somebody_takes_over(bench: Bench, tmp_path: Path) -> None:
    seen, content = walked(tmp_path)
    bench.play(replay=kept(bench, content))
    assert bench.run(25) == seen[:25]
    assert bench.told().replay == len(seen)
    bench.seq += 1
    bench.submit(Steer(Input(seq=bench.seq), bench.clock.now_s))  # hands off: nothing
    assert bench.run(1) == seen[25:26]
    mine = bench.walk(10, "back")
    assert mine[0] != seen[26]
    assert bench.told().replay is None
    assert bench._world.steps == 2, "the ladder is this machine's own again"
    assert replayed(bench.log()) == seen[:26] + mine
    worlds = [(event.seed, event.prompt) for event in bench.of(WorldReady) if isinstance(event, WorldReady)]
    assert worlds == [(9, "canyon"), (9, "snow")]


@pytest.mark.parametrize("command", [TakeOver(), Say("desert"), Rewind(3)], ids=lambda c: type(c).__name__)
def test_whatever_one_does_in_a_replay_takes_it_over(
    bench: Bench, tmp_path: Path, command: TakeOver | Say | Rewind
) -> None:
    seen, content = walked(tmp_path)
    bench.play(replay=kept(bench, content))
    bench.run(12)
    bench.submit(command)
    bench.run(3)
    assert bench.told().replay is None
    assert bench.shown[:12] == seen[:12]
    assert replayed(bench.log()) == (bench.shown if not isinstance(command, Rewind) else seen[:3] + bench.shown[12:])


def test_a_replay_that_ends_says_so_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    seen, content = walked(tmp_path)
    bench.play(replay=kept(bench, content))
    assert bench.run(len(seen) + 5)[: len(seen)] == seen
    assert [event.code for event in bench.of(Noticed) if isinstance(event, Noticed)] == ["replay_ended"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda text: None, "replay_missing", "not kept here, or no longer"),
        (lambda text: b"\xff\xfe", "replay_refused", "it is not text"),
        (lambda text: text.replace(b'"version": 2', b'"version": 9'), "replay_refused", "version 9"),
        (lambda text: text.replace(b"0" * 64, b"1" * 64), "replay_refused", "made with the world test 1111"),
    ],
)
def test_what_cannot_be_shown_again_begins_fresh_and_says_why(
    bench: Bench, tmp_path: Path, change: object, code: str, said: str
) -> None:
    _, content = walked(tmp_path)
    changed = change(content)  # type: ignore[operator]
    if changed is not None:
        kept(bench, changed)
    bench.play(5, "forest", replay="kept-walk-1")
    shown = bench.run(3)
    (noticed,) = bench.of(Noticed)
    assert isinstance(noticed, Noticed)
    assert noticed.code == code
    assert said in noticed.message
    assert "A fresh world of the same seed and words begins instead." in noticed.message
    fresh = Bench(Clock(), tmp_path / "fresh")
    fresh.play(5, "forest")
    assert fresh.run(3) == shown


def test_a_log_that_is_cut_off_is_played_up_to_there(bench: Bench, tmp_path: Path) -> None:
    seen, content = walked(tmp_path)
    bench.play(replay=kept(bench, content[:-4]))
    assert bench.run(len(seen) - 1) == seen[:-1]
    bench.run(1)
    assert bench.told().replay is None


def test_damage_is_said_and_the_session_lives_on(bench: Bench, tmp_path: Path) -> None:
    seen, content = walked(tmp_path)
    lines = content.split(b"\n")
    lines[6] = b"[1, 2"
    bench.play(replay=kept(bench, b"\n".join(lines)))
    assert bench.run(8)[:5] == seen[:5]
    assert [event.code for event in bench.of(Noticed) if isinstance(event, Noticed)] == ["replay_damaged"]


def test_another_engine_or_other_steps_are_played_as_well_as_can_be(bench: Bench, tmp_path: Path) -> None:
    _, content = walked(tmp_path)
    content = content.replace(b'"engine": "', b'"engine": "abacus ').replace(b'{"steps": 1}', b'{"steps": 7}')
    bench.play(replay=kept(bench, content))
    bench.run(35)
    codes = [event.code for event in bench.of(Noticed) if isinstance(event, Noticed)]
    assert codes == ["replay_differs", "replay_ended"]


def test_a_new_world_begins_a_new_log_and_ends_a_replay(bench: Bench, tmp_path: Path) -> None:
    _, content = walked(tmp_path)
    bench.play(replay=kept(bench, content))
    bench.run(4)
    bench.submit(Renew(8, "desert"))
    fresh = bench.run(6)
    assert bench.told().replay is None
    assert replayed(bench.log()) == fresh


def test_a_walk_that_is_too_long_says_so_once(clock: Clock, tmp_path: Path) -> None:
    bench = Bench(clock, tmp_path)
    bench._walk._config = replace(TimelineConfig(), log_bytes=300)
    bench.play()
    bench.walk(40, "forward")
    assert [event.code for event in bench.of(Noticed) if isinstance(event, Noticed)] == ["log_full"]
    shown, content = list(bench.shown), bench.log()
    again = replayed(content)
    assert 0 < len(again) < 40
    assert again == shown[: len(again)]
    bench.submit(Rewind(2))
    assert bench.run(1)[0] == shown[2]
