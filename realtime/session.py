"""One user: who they are, what they asked for, and the line to them.

    connecting ──enter──► queued ──turn comes──► live ⇄ paused          (a player)
         │                   ▲                     │
         │                   └───── turn lost ─────┘
         └──watch:true──► viewer ⇄ paused
    any state ──leave──► closed

The lobby (lobby.py) moves sessions between these states, on the event loop; this file only says what a session is.
What the player presses goes through inputs.py to the thread that draws (worker.py); pictures come back by `Link.show`.
"""

from __future__ import annotations

import enum
import re
import secrets
from typing import Literal, Protocol

from ..worlds.procedural.captions import words as grammar_words
from .checks import Message
from .errors import WorldstreamError
from .images import StartImage
from .mailbox import Drawn
from .protocol import ErrorMessage, Hello, Input

Codec = Literal["rtp", "h264", "jpeg"]

_SMALL_WORDS = frozenset(
    {"a", "an", "and", "at", "by", "for", "from", "in", "into", "is", "of", "on", "or", "over", "the", "to", "with"}
)


class Link(Protocol):
    """The line to one user: a WebRTC peer or a WebSocket. No method blocks or raises; all run on the event loop."""

    @property
    def codec(self) -> Codec: ...

    @property
    def dropped(self) -> int:
        """Pictures that this user did not get because the line was too slow."""
        ...

    @property
    def bandwidth_bps(self) -> int | None:
        """What the user's side says the line carries; None where it does not say."""
        ...

    def send(self, message: Message) -> None: ...

    def show(self, drawn: Drawn, input_id: int) -> None:
        """Queue a picture. `input_id` is 0 where the picture answers somebody else's input."""
        ...

    def skip(self) -> None:
        """Pictures stop for a while (the tab is hidden): forget those that wait."""
        ...

    def close(self, error: WorldstreamError | None) -> None:
        """Start closing; None is a friendly end. Closing twice is harmless."""
        ...


class Role(enum.Enum):
    CONNECTING = "connecting"  # not yet in the lobby: sees nothing, takes no turn
    QUEUED = "queued"
    PLAYER = "player"
    VIEWER = "viewer"
    CLOSED = "closed"


class Session:
    """One connected user."""

    def __init__(self, hello: Hello, link: Link) -> None:
        self.id = secrets.token_urlsafe(9)
        self.link = link
        self.role = Role.CONNECTING
        self.watch = hello.watch
        self.seed = hello.seed  # the world they get when their turn comes
        self.prompt = hello.prompt
        self.image_id = hello.image  # as they asked
        self.image: StartImage | None = None  # as it was found
        self.replay = hello.replay  # the kept walk that their world begins with
        self.newest: Input | None = None
        self.hidden_since_s: float | None = None
        self.place: int | None = None  # the last place in line that they were told
        self.malformed = 0  # in a row

    @property
    def hidden(self) -> bool:
        return self.hidden_since_s is not None

    @property
    def present(self) -> bool:
        """In the lobby, neither before nor after it."""
        return self.role in (Role.QUEUED, Role.PLAYER, Role.VIEWER)

    def fail(self, error: WorldstreamError, fatal: bool) -> None:
        """Tell the user; `fatal` also starts closing the line."""
        self.link.send(
            ErrorMessage(code=error.code, message=error.message, remedy=error.remedy, fatal=fatal, id=error.id)
        )
        if fatal:
            self.link.close(error)


def unknown_words(prompt: str, understood: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a prompt that the world has no meaning for, in order, each once; small words do not count.

    Compared as the grammar compares them, so that plurals and accents make no difference.
    """
    known = {word for phrase in understood for word in grammar_words(phrase)}
    found = (w for w in _words(prompt) if w not in _SMALL_WORDS)
    return tuple(dict.fromkeys(w for w in found if not (parts := grammar_words(w)) or not known.issuperset(parts)))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())
