"""What each client message does, and how bad ones are answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.doubles import Clock, FakeLink
from tests.realtime.test_lobby import Hall
from worldstream.realtime import mailbox
from worldstream.realtime.checks import Message
from worldstream.realtime.conversation import receive
from worldstream.realtime.protocol import (
    Bye,
    ErrorMessage,
    Hello,
    Input,
    Keyframe,
    Pause,
    Ping,
    Pong,
    Prompt,
    Reset,
    Resume,
    Shown,
    encode,
)
from worldstream.realtime.session import Role, Session


class Talk:
    """A player and somebody in line, talking."""

    def __init__(self) -> None:
        self.hall = Hall(Clock())
        self.player, self.link = self.hall.come(seed=1, codec="h264")
        self.waiting, self.waiting_link = self.hall.come(seed=2)
        self.hall.commands.clear()

    def say(self, message: Message | str, who: Session | None = None) -> list[mailbox.Command]:
        """The commands that the message causes."""
        self.hall.commands.clear()
        receive(self.hall.lobby, who or self.player, message if isinstance(message, str) else encode(message))
        return self.hall.commands


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_inputs_of_the_player_steer(talk: Talk) -> None:
    message = Input(seq=1, keys=frozenset({"forward"}))
    assert talk.say(message) == [mailbox.Steer(message, talk.hall.clock.now_s)]


def test_inputs_of_others_are_remembered_only(talk: Talk) -> None:
    assert talk.say(Input(seq=4, yaw=1.0), talk.waiting) == []
    assert talk.waiting.newest == Input(seq=4, yaw=1.0)


def test_stale_inputs_are_dropped_silently_and_counted(talk: Talk) -> None:
    talk.say(Input(seq=5))
    assert talk.say(Input(seq=5)) == []
    assert talk.say(Input(seq=2)) == []
    assert talk.link.said(ErrorMessage) == []
    assert b"worldstream_inputs_stale_total 2.0" in talk.hall.lobby.metrics.text()


def test_prompt_and_reset(talk: Talk) -> None:
    assert talk.say(Prompt(prompt="desert")) == [mailbox.Say("desert")]
    assert talk.say(Reset(seed=9, prompt="canyon")) == [mailbox.Renew(9, "canyon")]
    assert talk.say(Reset(seed=8, prompt="dungeon"), talk.waiting) == []
    talk.hall.lobby.leave(talk.player)
    assert talk.hall.plays()[-1].seed == 8  # the world they asked for last


def test_pause_and_resume(talk: Talk) -> None:
    assert mailbox.Hold() in talk.say(Pause())
    assert talk.say(Input(seq=1)) == []
    assert mailbox.Continue(Input(seq=1)) in talk.say(Resume())


def test_shown_is_measured_for_the_player_only(talk: Talk) -> None:
    talk.say(Shown(frame=1, input=1, latency_ms=80.0))
    talk.say(Shown(frame=1, input=0, latency_ms=80.0))
    talk.say(Shown(frame=1, input=1, latency_ms=80.0), talk.waiting)
    assert b"worldstream_action_to_photon_seconds_count 1.0" in talk.hall.lobby.metrics.text()


def test_keyframe_ping_and_bye(talk: Talk) -> None:
    assert talk.say(Keyframe()) == [mailbox.WantKeyframe()]
    assert talk.say(Keyframe(), talk.waiting) == []  # JPEG needs none
    talk.say(Ping(t=5.0))
    assert talk.link.said(Pong) == [Pong(t=5.0)]
    talk.say(Bye())
    assert talk.link.closed
    assert talk.link.error is None
    assert talk.player.role is Role.CLOSED
    assert talk.say(Ping(t=6.0)) == []


def test_ten_malformed_messages_in_a_row_end_the_session(talk: Talk) -> None:
    for _ in range(9):
        talk.say("nonsense")
    talk.say(Ping(t=1.0))  # in a row, not in all
    for _ in range(9):
        talk.say("nonsense")
    assert talk.hall.who() is talk.player
    assert not any(error.fatal for error in talk.link.said(ErrorMessage))
    talk.say("nonsense")
    assert talk.link.said(ErrorMessage)[-1].fatal
    assert talk.link.closed
    assert talk.link.error is not None
    assert talk.link.error.close_code == 4400
    assert talk.hall.lobby.player is talk.waiting


@pytest.mark.parametrize(
    ("raw", "close_code"),
    [("x" * 20_000, 4413), ('{"type":"hello","v":2,"seed":1,"prompt":""}', 4401)],
)
def test_some_messages_are_fatal_at_once(talk: Talk, raw: str, close_code: int) -> None:
    talk.say(raw)
    assert talk.link.error is not None
    assert talk.link.error.close_code == close_code
    assert talk.player.role is Role.CLOSED


def test_a_second_hello_is_refused(talk: Talk) -> None:
    talk.say(Hello(seed=1, prompt=""))
    assert [error.code for error in talk.link.said(ErrorMessage)] == ["malformed"]


@given(st.text(max_size=100) | st.binary(max_size=100))
def test_nothing_that_a_client_says_raises(raw: str | bytes) -> None:
    hall = Hall(Clock())
    session, _ = hall.come()
    receive(hall.lobby, session, raw)


def test_a_fake_link_is_a_link() -> None:
    from worldstream.realtime.session import Link

    link: Link = FakeLink()
    assert link.dropped == 0
