"""What happens when a client says something: one message in, one thing done. The same for both transports.

Nothing a client sends may raise out of here: bad messages are answered, and ten in a row end the session.
"""

from __future__ import annotations

from . import mailbox
from .checks import Message
from .errors import MalformedMessage, MessageTooLarge, NotPlayer, WrongVersion
from .lobby import Lobby
from .protocol import (
    Bye,
    GoToBranch,
    Hello,
    Input,
    Keyframe,
    Pause,
    Ping,
    Pong,
    Prompt,
    Reset,
    Resume,
    Rewind,
    Shown,
    TakeOver,
    decode_client,
)
from .session import Role, Session


def receive(lobby: Lobby, session: Session, raw: str | bytes) -> None:
    """One text message of a session that is connected."""
    if session.role is Role.CLOSED:
        return
    try:
        message = decode_client(raw)
        if isinstance(message, Hello):
            raise MalformedMessage("hello may be said once")
    except MalformedMessage as error:
        _refuse(lobby, session, error)
        return
    session.malformed = 0
    _obey(lobby, session, message)


def _refuse(lobby: Lobby, session: Session, error: MalformedMessage) -> None:
    lobby.metrics.malformed_message()
    session.malformed += 1
    too_many = session.malformed >= lobby.config.max_malformed
    fatal = too_many or isinstance(error, (MessageTooLarge, WrongVersion))
    session.fail(error, fatal=fatal)
    if fatal:
        lobby.leave(session)


def _obey(lobby: Lobby, session: Session, message: Message) -> None:
    match message:
        case Input():
            _steer(lobby, session, message)
        case Prompt() | Reset():
            _wish(lobby, session, message)
        case Rewind() | GoToBranch() | TakeOver():
            _travel(lobby, session, message)
        case Pause():
            lobby.hide(session)
        case Resume():
            lobby.unhide(session)
        case Shown(latency_ms=latency_ms):
            if session is lobby.player and message.input > 0:
                lobby.metrics.photon(latency_ms)
        case Keyframe():
            if session.link.codec != "jpeg":
                lobby.want_keyframe()
        case Ping(t):
            session.link.send(Pong(t=t))
        case Bye():
            session.link.close(None)
            lobby.leave(session)


def _wish(lobby: Lobby, session: Session, message: Prompt | Reset) -> None:
    """Remembered until their turn comes, obeyed where it is theirs."""
    if isinstance(message, Reset):
        session.replay = ""
        lobby.ask(session, message.seed, message.prompt, message.image)
        command: mailbox.Renew | mailbox.Say = mailbox.Renew(session.seed, session.prompt, session.image)
    else:
        session.prompt = message.prompt
        command = mailbox.Say(message.prompt)
    if session is lobby.player:
        lobby.submit(command)


def _travel(lobby: Lobby, session: Session, message: Rewind | GoToBranch | TakeOver) -> None:
    if session is not lobby.player:
        session.fail(NotPlayer("Only the player may go back in the walk or take it over."), fatal=False)
    elif isinstance(message, Rewind):
        lobby.submit(mailbox.Rewind(message.frame))
    elif isinstance(message, GoToBranch):
        lobby.submit(mailbox.GoToBranch(message.id))
    else:
        lobby.submit(mailbox.TakeOver())


def _steer(lobby: Lobby, session: Session, message: Input) -> None:
    if session.newest is not None and message.seq <= session.newest.seq:
        lobby.metrics.stale_input()
        return
    session.newest = message
    if session is lobby.player and not session.hidden:
        lobby.submit(mailbox.Steer(message, lobby.clock()))
