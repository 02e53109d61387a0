"""What goes into the worker and what comes out of it: commands and events, frozen, safe to pass between threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import ClientError, SessionFailed
from .protocol import Branch, Input

if TYPE_CHECKING:
    from .encoder import Encoded
    from .images import StartImage

# -- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Play:
    """A new player: draw the world they ask for. `turn` tags every event until the next Play."""

    turn: int
    seed: int
    prompt: str
    baseline: Input | None
    session: str = ""  # under which the walk's log is handed over when it ends; empty: it is not
    replay: str = ""  # a kept log to begin with
    image: StartImage | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Nobody plays."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The player looks away: keep the world, draw nothing."""


@dataclass(frozen=True, slots=True)
class Continue:
    """The player is back."""

    baseline: Input | None


@dataclass(frozen=True, slots=True)
class Steer:
    input: Input
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Say:
    """Change the prompt, keep walking."""

    prompt: str


@dataclass(frozen=True, slots=True)
class Renew:
    """A new world for the same player."""

    seed: int
    prompt: str
    image: StartImage | None = None


@dataclass(frozen=True, slots=True)
class Rewind:
    """Back to a moment of the walk."""

    moment: int


@dataclass(frozen=True, slots=True)
class GoToBranch:
    """To the end of a way that was left."""

    branch: int


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The player has seen enough of the replay and walks on from here."""


@dataclass(frozen=True, slots=True)
class TakeLog:
    """Hand over the walk's log as it is now."""

    ticket: str


@dataclass(frozen=True, slots=True)
class WantKeyframe:
    pass


@dataclass(frozen=True, slots=True)
class WantBitrate:
    bps: int


@dataclass(frozen=True, slots=True)
class WantFormats:
    """What the watchers can decode; nothing else is encoded."""

    h264: bool
    jpeg: bool


Command = (
    Play | Stop | Hold | Continue | Steer | Say | Renew
    | Rewind | GoToBranch | TakeOver | TakeLog
    | WantKeyframe | WantBitrate | WantFormats
)  # fmt: skip


# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture. `frame` counts pictures over the life of the server, so it never goes back."""

    turn: int
    frame: int
    input_id: int
    media_time_s: float
    server_ms: float  # input arrival (or, where no input is new, the start of drawing) to encoded
    fresh: bool = False  # answers an input that no picture answered before
    h264: Encoded | None = None
    jpeg: bytes | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)
    skipped: int = 0  # slots given up before this picture
    steps: int = 1
    bitrate_bps: int = 0
    drift: str = "fine"
    reanchored: int = 0  # times that this walk was brought back so far
    scene: int = 0  # rises where the picture jumps: a new world, another moment


@dataclass(frozen=True, slots=True)
class WorldReady:
    """What the model made of a seed, a prompt and perhaps a picture."""

    turn: int
    seed: int
    prompt: str
    understood: tuple[str, ...]
    image: StartImage | None = None


@dataclass(frozen=True, slots=True)
class StepsChanged:
    steps: int
    lower: bool


@dataclass(frozen=True, slots=True)
class Broke:
    """The model failed; the turn is over."""

    turn: int
    error: SessionFailed


@dataclass(frozen=True, slots=True)
class TimelineChanged:
    """Where the walk stands, about once a second and whenever it jumps."""

    turn: int
    now: int
    moments: tuple[int, ...]  # reached at once
    branches: tuple[Branch, ...]
    replay: int | None  # frames of the log that is being played; None: the player walks
    progress: float | None  # of reaching a moment, from 0 to 1


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something that the player should know."""

    turn: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that the player asked for cannot be."""

    turn: int
    error: ClientError


@dataclass(frozen=True, slots=True)
class LogTaken:
    """The log of a walk: asked for by a ticket, or at its end under its session's id. None: there is no walk."""

    ticket: str
    content: bytes | None


Event = Drawn | WorldReady | StepsChanged | Broke | TimelineChanged | Noticed | Refused | LogTaken
