"""The lobby on a virtual clock: one player, an honest line, viewers, hidden tabs, reload storms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.realtime.doubles import WORLD_INFO, Clock, FakeLink
from worldstream.realtime import mailbox
from worldstream.realtime.config import SessionConfig, VideoConfig
from worldstream.realtime.errors import ServerStopping, SessionFailed, TooManySessions, TurnLost
from worldstream.realtime.lobby import Lobby
from worldstream.realtime.mailbox import Command, Drawn
from worldstream.realtime.metrics import Metrics
from worldstream.realtime.protocol import ErrorMessage, Hello, Input, Notice, State, Stats, Welcome, WorldChanged
from worldstream.realtime.session import Codec, Role, Session

VIDEO = VideoConfig()


class Hall:
    """A lobby whose worker is a list of commands."""

    def __init__(self, clock: Clock, config: SessionConfig | None = None) -> None:
        self.clock = clock
        self.commands: list[Command] = []
        self.lobby = Lobby(self.commands.append, WORLD_INFO, config or SessionConfig(), VIDEO, Metrics(), clock)

    def come(self, watch: bool = False, codec: Codec = "jpeg", seed: int = 1) -> tuple[Session, FakeLink]:
        link = FakeLink(codec=codec)
        session = self.lobby.admit(Hello(seed=seed, prompt=f"world {seed}", watch=watch), link)
        self.lobby.enter(session)
        return session, link

    def who(self) -> Session | None:
        """Who plays."""
        return self.lobby.player

    def last(self) -> Command:
        return self.commands[-1]

    def plays(self) -> list[mailbox.Play]:
        return [command for command in self.commands if isinstance(command, mailbox.Play)]

    def draw(self, frame: int = 1, input_id: int = 0, turn: int | None = None) -> Drawn:
        drawn = Drawn(self.plays()[-1].turn if turn is None else turn, frame, input_id, 0.0, 20.0, jpeg=b"jpeg")
        self.lobby.on_event(drawn)
        return drawn


@pytest.fixture
def hall(clock: Clock) -> Hall:
    return Hall(clock)


def states(link: FakeLink) -> list[tuple[str, int | None]]:
    return [(message.state, message.place) for message in link.said(State)]


def test_the_first_visitor_plays_at_once(hall: Hall) -> None:
    session, link = hall.come(seed=5)
    assert session.role is Role.PLAYER
    assert link.said(Welcome)[0].role == "player"
    assert states(link) == [("live", None)]
    assert hall.plays() == [mailbox.Play(1, 5, "world 5", None, session.id)]
    assert mailbox.WantFormats(h264=False, jpeg=True) in hall.commands


def test_the_second_visitor_waits_and_watches(hall: Hall) -> None:
    hall.come(seed=1)
    hall.lobby.on_event(mailbox.WorldReady(1, 1, "world 1", ()))
    session, link = hall.come(seed=2)
    assert session.role is Role.QUEUED
    assert link.said(Welcome)[0].role == "queued"
    assert states(link) == [("queued", 1)]
    assert link.said(WorldChanged)[0].seed == 1  # whose pictures these are
    drawn = hall.draw(input_id=9)
    assert link.pictures == [(drawn, 0)]  # somebody else's input means nothing here


def test_the_line_moves_up_in_order_with_the_worlds_they_asked_for(hall: Hall) -> None:
    visitors = [hall.come(seed=seed) for seed in range(4)]
    assert [states(link)[-1] for _, link in visitors] == [("live", None), ("queued", 1), ("queued", 2), ("queued", 3)]
    hall.lobby.leave(visitors[0][0])
    assert [states(link)[-1] for _, link in visitors[1:]] == [("live", None), ("queued", 1), ("queued", 2)]
    hall.lobby.leave(visitors[2][0])  # from the middle
    assert states(visitors[3][1])[-1] == ("queued", 1)
    hall.lobby.leave(visitors[1][0])
    assert [play.seed for play in hall.plays()] == [0, 1, 3]
    assert [play.turn for play in hall.plays()] == [1, 2, 3]


def test_viewers_never_queue(hall: Hall) -> None:
    viewer, link = hall.come(watch=True)
    assert viewer.role is Role.VIEWER
    assert states(link) == [("paused", None)]
    assert hall.plays() == []
    player, _ = hall.come()
    assert player.role is Role.PLAYER
    assert states(link)[-1] == ("live", None)
    hall.lobby.leave(player)
    assert states(link)[-1] == ("paused", None)
    assert isinstance(hall.commands[-1], mailbox.WantFormats | mailbox.Stop)
    assert mailbox.Stop() in hall.commands


def test_a_hidden_player_holds_the_world(hall: Hall) -> None:
    player, link = hall.come()
    viewer_link = hall.come(watch=True)[1]
    hall.lobby.hide(player)
    assert mailbox.Hold() in hall.commands
    assert states(link)[-1] == states(viewer_link)[-1] == ("paused", None)
    hall.clock.advance(3600.0)
    hall.lobby.tick()
    assert hall.who() is player  # nobody waits
    player.newest = Input(seq=3)
    hall.lobby.unhide(player)
    assert mailbox.Continue(Input(seq=3)) in hall.commands
    assert states(link)[-1] == states(viewer_link)[-1] == ("live", None)


def test_a_player_hidden_for_a_minute_loses_the_turn_to_whoever_waits(hall: Hall) -> None:
    player, link = hall.come(seed=1)
    waiting, waiting_link = hall.come(seed=2)
    hall.lobby.hide(player)
    hall.clock.advance(60.0)
    hall.lobby.tick()
    assert hall.who() is player
    hall.clock.advance(0.5)
    hall.lobby.tick()
    assert hall.who() is waiting
    assert states(waiting_link)[-1] == ("live", None)
    assert states(link)[-1] == ("queued", 1)
    assert [(error.code, error.fatal) for error in link.said(ErrorMessage)] == [(TurnLost.code, False)]
    assert not link.closed


def test_nobody_is_promoted_while_hidden(hall: Hall) -> None:
    player, _ = hall.come(seed=1)
    hidden, hidden_link = hall.come(seed=2)
    third, _ = hall.come(seed=3)
    hall.lobby.hide(hidden)
    hall.lobby.leave(player)
    assert hall.who() is third
    hall.lobby.leave(third)
    assert hall.who() is None
    assert mailbox.Stop() in hall.commands
    hall.lobby.unhide(hidden)
    assert hall.who() is hidden
    assert states(hidden_link)[-1] == ("live", None)


def test_a_newcomer_passes_a_line_of_hidden_tabs(hall: Hall) -> None:
    player, _ = hall.come()
    hidden, _ = hall.come()
    hall.lobby.hide(hidden)
    hall.lobby.leave(player)
    newcomer, _ = hall.come()
    assert newcomer.role is Role.PLAYER


def test_hidden_tabs_get_no_pictures(hall: Hall) -> None:
    hall.come()
    viewer, link = hall.come(watch=True, codec="h264")
    hall.lobby.hide(viewer)
    assert link.skips == 1
    assert hall.last() == mailbox.WantFormats(h264=False, jpeg=True)
    hall.draw()
    assert link.pictures == []
    hall.lobby.unhide(viewer)
    assert mailbox.WantFormats(h264=True, jpeg=True) in hall.commands
    assert hall.last() == mailbox.WantKeyframe()


def test_a_promoted_visitor_starts_from_where_their_mouse_is(hall: Hall) -> None:
    first, _ = hall.come()
    second, _ = hall.come()
    second.newest = Input(seq=12, yaw=3.0)
    hall.lobby.leave(first)
    assert hall.plays()[-1].baseline == Input(seq=12, yaw=3.0)


def test_the_house_fills_up(clock: Clock) -> None:
    hall = Hall(clock, SessionConfig(max_sessions=3))
    sessions = [hall.come()[0] for _ in range(3)]
    with pytest.raises(TooManySessions):
        hall.lobby.admit(Hello(seed=1, prompt=""), FakeLink())
    hall.lobby.leave(sessions[1])
    hall.come()


def test_a_reload_storm_leaves_nothing_behind(hall: Hall) -> None:
    for _ in range(500):
        session, _ = hall.come()
        hall.lobby.leave(session)
    assert hall.lobby.sessions == {}
    assert hall.lobby.line == []
    assert hall.who() is None
    last, _ = hall.come()
    assert last.role is Role.PLAYER


def test_two_tabs_take_turns(hall: Hall) -> None:
    first, _ = hall.come()
    second, link = hall.come()
    assert second.role is Role.QUEUED
    hall.lobby.hide(first)  # the user is in the second tab
    hall.clock.advance(61.0)
    hall.lobby.tick()
    assert hall.who() is second
    assert states(link)[-1] == ("live", None)


@pytest.mark.parametrize("stage", ["connecting", "player", "queued", "viewer", "hidden", "closed"])
def test_leaving_works_from_every_state(hall: Hall, stage: str) -> None:
    hall.come() if stage in ("queued",) else None
    session = hall.lobby.admit(Hello(seed=1, prompt="", watch=stage == "viewer"), FakeLink())
    if stage != "connecting":
        hall.lobby.enter(session)
    if stage == "hidden":
        hall.lobby.hide(session)
    if stage == "closed":
        hall.lobby.leave(session)
    hall.lobby.leave(session)
    assert session.role is Role.CLOSED
    assert session.id not in hall.lobby.sessions
    assert session not in hall.lobby.line
    hall.lobby.enter(session)  # a connection that comes up too late
    hall.lobby.hide(session)
    assert session.role is Role.CLOSED


def test_pictures_of_an_earlier_turn_are_stale(hall: Hall) -> None:
    first, _ = hall.come()
    _, link = hall.come()
    hall.lobby.leave(first)
    hall.draw(turn=1)
    assert link.pictures == []
    hall.draw(turn=2, input_id=4)
    assert [input_id for _, input_id in link.pictures] == [4]


def test_a_broken_turn_ends_that_session_only(hall: Hall) -> None:
    player, link = hall.come()
    waiting, _ = hall.come()
    error = SessionFailed("The model failed.")
    hall.lobby.on_event(mailbox.Broke(1, error))
    assert link.closed
    assert link.error is error
    assert link.said(ErrorMessage)[-1].id == error.id
    assert player.role is Role.CLOSED
    assert hall.who() is waiting


def test_stopping_says_goodbye_and_lets_nobody_in(hall: Hall) -> None:
    links = [hall.come()[1] for _ in range(3)]
    hall.lobby.stop()
    assert all(isinstance(link.error, ServerStopping) for link in links)
    assert hall.lobby.sessions == {}
    with pytest.raises(ServerStopping):
        hall.lobby.admit(Hello(seed=1, prompt=""), FakeLink())


def test_stats_come_once_a_second(hall: Hall) -> None:
    _, link = hall.come()
    viewer, viewer_link = hall.come(watch=True)
    viewer_link.dropped = 7
    for index in range(48):
        hall.clock.advance(1 / 24)
        hall.draw(frame=index)
        hall.lobby.tick()
    assert len(link.said(Stats)) in (2, 3)
    stats = viewer_link.said(Stats)[-1]
    assert (stats.viewers, stats.queue, stats.dropped, stats.steps) == (1, 0, 7, 2)
    assert 23 <= stats.fps <= 25
    hall.lobby.hide(viewer)
    count = len(viewer_link.said(Stats))
    hall.clock.advance(5.0)
    hall.lobby.tick()
    assert len(viewer_link.said(Stats)) == count


def test_stats_say_how_the_walk_is(hall: Hall) -> None:
    _, link = hall.come()
    hall.lobby.on_event(replace(hall.draw(), drift="straying"))
    hall.clock.advance(1.5)
    hall.lobby.tick()
    assert link.said(Stats)[-1].drift == "straying"


def test_the_speed_ladder_is_announced(hall: Hall) -> None:
    _, link = hall.come()
    hall.lobby.on_event(mailbox.StepsChanged(1, lower=True))
    hall.lobby.on_event(mailbox.StepsChanged(2, lower=False))
    assert [notice.code for notice in link.said(Notice)] == ["steps_reduced", "steps_raised"]


def test_unknown_words_are_named(hall: Hall) -> None:
    _, link = hall.come()
    hall.lobby.on_event(mailbox.WorldReady(1, 1, "a Neon City with Zebras", ("neon city",)))
    assert link.said(WorldChanged)[-1].unknown == ("zebras",)


def test_the_bitrate_follows_the_player(hall: Hall) -> None:
    _, link = hall.come(codec="rtp")
    link.bandwidth_bps = 900_000
    hall.lobby.tick()
    hall.lobby.tick()
    assert [c for c in hall.commands if isinstance(c, mailbox.WantBitrate)] == [mailbox.WantBitrate(900_000)]


class AnyOrder(RuleBasedStateMachine):
    """Whatever people do, in whatever order: one player, one line, nobody lost."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall(Clock(), SessionConfig(max_sessions=6))
        self.here: list[Session] = []

    def pick(self, index: int) -> Session | None:
        return self.here[index % len(self.here)] if self.here else None

    @rule(watch=st.booleans())
    def come(self, watch: bool) -> None:
        try:
            self.here.append(self.hall.come(watch)[0])
        except TooManySessions:
            assert len(self.here) == 6

    @rule(index=st.integers(0, 9))
    def leave(self, index: int) -> None:
        if session := self.pick(index):
            self.here.remove(session)
            self.hall.lobby.leave(session)

    @rule(index=st.integers(0, 9))
    def hide(self, index: int) -> None:
        if session := self.pick(index):
            self.hall.lobby.hide(session)

    @rule(index=st.integers(0, 9))
    def unhide(self, index: int) -> None:
        if session := self.pick(index):
            self.hall.lobby.unhide(session)

    @rule(seconds=st.sampled_from([0.3, 20.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.hall.clock.advance(seconds)
        self.hall.lobby.tick()

    @invariant()
    def everybody_has_exactly_one_place(self) -> None:
        lobby = self.hall.lobby
        assert set(lobby.sessions.values()) == set(self.here)
        players = [session for session in self.here if session.role is Role.PLAYER]
        assert players == ([lobby.player] if lobby.player is not None else [])
        assert {session for session in self.here if session.role is Role.QUEUED} == set(lobby.line)
        assert len(lobby.line) == len(set(lobby.line))
        assert [session.place for session in lobby.line] == list(range(1, len(lobby.line) + 1))

    @invariant()
    def nobody_waits_for_an_empty_seat(self) -> None:
        if self.hall.who() is None:
            assert all(session.hidden for session in self.hall.lobby.line)


AnyOrder.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
test_any_order = AnyOrder.TestCase
