"""Nothing is drawn that nobody sees: lobby and worker together on a virtual clock, with a player that counts."""

from __future__ import annotations

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.realtime.doubles import WORLD_INFO, Clock, FakeLink
from tests.realtime.fake_world import FakePlayer, FakeWorld
from worldstream.realtime.checks import Message
from worldstream.realtime.config import ServerConfig, SessionConfig
from worldstream.realtime.conversation import receive
from worldstream.realtime.errors import TooManySessions
from worldstream.realtime.lobby import Lobby
from worldstream.realtime.metrics import Metrics
from worldstream.realtime.protocol import Hello, Input, Pause, Resume, State, encode
from worldstream.realtime.session import Role, Session
from worldstream.realtime.worker import Worker

SMALL = FakeWorld(width_px=96, height_px=48)
PERIOD_S = 1 / SMALL.fps


class Theatre:
    """A lobby and a worker that hear each other at once."""

    def __init__(self) -> None:
        self.clock = Clock()
        config = ServerConfig(sessions=SessionConfig(max_sessions=6))
        self.worker = Worker(SMALL, config, self.clock)
        self.lobby = Lobby(self.worker.submit, WORLD_INFO, config.sessions, config.video, Metrics(), self.clock)
        self.worker.emit = self.lobby.on_event

    @property
    def player(self) -> FakePlayer:
        player = self.worker._player
        assert isinstance(player, FakePlayer)
        return player

    def come(self, watch: bool = False) -> tuple[Session, FakeLink]:
        link = FakeLink()
        session = self.lobby.admit(Hello(seed=1, prompt="forest", watch=watch), link)
        self.lobby.enter(session)
        return session, link

    def say(self, session: Session, message: Message) -> None:
        receive(self.lobby, session, encode(message))

    def pass_time(self, seconds: float) -> int:
        """Let the time go by; how many frames the player drew meanwhile."""
        end_s, before = self.clock.now_s + seconds, self.player.drawn
        while self.clock.now_s < end_s:
            wait_s = self.worker.turn(self.clock.now_s)
            self.clock.now_s = end_s if wait_s is None else min(end_s, self.clock.now_s + wait_s)
        return self.player.drawn - before


@pytest.fixture
def theatre() -> Theatre:
    return Theatre()


def test_a_hidden_player_costs_no_frame_and_comes_back_within_one(theatre: Theatre) -> None:
    player, link = theatre.come()
    assert theatre.pass_time(2.0) in (48, 49)
    where, index = theatre.player.camera, theatre.player.index
    theatre.say(player, Pause())
    assert theatre.pass_time(3600.0) == 0
    shown = len(link.pictures)
    theatre.say(player, Resume())
    assert theatre.pass_time(PERIOD_S / 2) == 1, "the first frame waits for no slot"
    assert len(link.pictures) == shown + 1
    assert (theatre.player.camera, theatre.player.index) == (where, index + 1), "the world is as it was"


def test_keys_held_when_the_tab_was_hidden_do_not_fire_on_return(theatre: Theatre) -> None:
    player, _ = theatre.come()
    theatre.say(player, Input(seq=1, keys=frozenset({"forward"}), yaw=0.5))
    theatre.pass_time(1.0)
    assert theatre.player.camera.z_m > 0.0
    theatre.say(player, Pause())
    theatre.say(player, Input(seq=2, keys=frozenset({"forward", "left"}), yaw=9.0, move=(1.0, 1.0)))
    theatre.pass_time(60.0)
    where = theatre.player.camera
    theatre.say(player, Resume())
    assert theatre.pass_time(1.0) in (24, 25)
    assert theatre.player.camera == where, "neither the keys of before nor what was pressed meanwhile"
    theatre.say(player, Input(seq=3, keys=frozenset({"forward"}), yaw=9.0))
    theatre.pass_time(0.5)
    assert theatre.player.camera != where


def test_a_viewer_alone_does_not_keep_the_world_going(theatre: Theatre) -> None:
    """It is the player's walk: it stands still for those who watch, too, and they are told."""
    player, _ = theatre.come()
    theatre.come(watch=True)
    theatre.pass_time(1.0)
    theatre.say(player, Pause())
    assert theatre.pass_time(600.0) == 0
    theatre.lobby.leave(player)
    assert theatre.pass_time(600.0) == 0


def test_a_tab_opened_in_the_background_gets_no_turn_until_it_is_looked_at(theatre: Theatre) -> None:
    session = theatre.lobby.admit(Hello(seed=1, prompt=""), FakeLink())
    theatre.say(session, Pause())  # while the line is still being built
    theatre.lobby.enter(session)
    assert session.role is Role.QUEUED
    assert theatre.pass_time(10.0) == 0
    theatre.say(session, Resume())
    assert theatre.lobby.player is session
    assert theatre.pass_time(PERIOD_S / 2) == 1


def test_a_viewer_who_looks_again_is_told_how_things_stand(theatre: Theatre) -> None:
    player, _ = theatre.come()
    viewer, link = theatre.come(watch=True)
    theatre.say(player, Pause())
    theatre.say(viewer, Pause())
    theatre.say(player, Resume())
    count = len(link.said(State))
    theatre.say(viewer, Resume())
    assert [message.state for message in link.said(State)[count:]] == ["live"]


def test_an_empty_house_draws_nothing(theatre: Theatre) -> None:
    assert theatre.pass_time(600.0) == 0
    player, _ = theatre.come()
    assert theatre.pass_time(1.0) in (24, 25)
    theatre.lobby.leave(player)
    assert theatre.pass_time(600.0) == 0


def grows(events: list[object], patience_s: float = 20.0) -> None:
    """Wait until there are more; fails after `patience_s`."""
    count, end_s = len(events), time.monotonic() + patience_s
    while len(events) == count:
        assert time.monotonic() < end_s, "nothing is drawn"
        time.sleep(0.01)


def test_a_paused_worker_burns_no_processor_time() -> None:
    """The real thread on the real clock: held, it sleeps until a command comes, and answers it at once."""
    lobby: Lobby
    worker = Worker(SMALL, ServerConfig(), time.monotonic)
    events: list[object] = []
    worker.start(events.append).result(20.0)
    config = ServerConfig()
    lobby = Lobby(worker.submit, WORLD_INFO, config.sessions, config.video, Metrics(), time.monotonic)
    session = lobby.admit(Hello(seed=1, prompt="forest"), FakeLink())
    lobby.enter(session)
    try:
        grows(events)
        lobby.hide(session)
        while True:  # the frame that was being drawn
            drawn = len(events)
            time.sleep(0.2)
            if len(events) == drawn:
                break
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.1
        assert len(events) == drawn
        lobby.unhide(session)
        grows(events)
    finally:
        worker.stop()


class AnyOrder(RuleBasedStateMachine):
    """Whatever people do: frames come where a player looks, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.theatre = Theatre()
        self.here: list[Session] = []
        self.away: set[Session] = set()  # who said that they look elsewhere, whatever the lobby made of it

    @rule(watch=st.booleans(), background=st.booleans())
    def come(self, watch: bool, background: bool) -> None:
        lobby = self.theatre.lobby
        try:
            session = lobby.admit(Hello(seed=1, prompt="", watch=watch), FakeLink())
        except TooManySessions:
            return
        if background:
            self.away.add(session)
            self.theatre.say(session, Pause())
        lobby.enter(session)
        self.here.append(session)

    @rule(index=st.integers(0, 9))
    def leave(self, index: int) -> None:
        if self.here:
            self.theatre.lobby.leave(self.here.pop(index % len(self.here)))

    @rule(index=st.integers(0, 9), message=st.sampled_from([Pause(), Resume()]))
    def look(self, index: int, message: Message) -> None:
        if not self.here:
            return
        session = self.here[index % len(self.here)]
        (self.away.add if isinstance(message, Pause) else self.away.discard)(session)
        self.theatre.say(session, message)

    @rule(seconds=st.sampled_from([0.5, 61.0]))
    def wait(self, seconds: float) -> None:
        self.theatre.lobby.tick()
        seen = any(session is self.theatre.lobby.player and session not in self.away for session in self.here)
        drawn = self.theatre.pass_time(min(seconds, 0.5))
        self.theatre.clock.advance(seconds - min(seconds, 0.5))
        assert (drawn >= 11) if seen else (drawn == 0)


AnyOrder.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_any_order = AnyOrder.TestCase
