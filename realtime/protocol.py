"""The wire protocol, version 1: every message both ways, and (with binary.py, the pictures on the
WebSocket) the only Python that encodes or decodes them.

The meaning of each field is in docs/protocol.md; `clients/browser/protocol.js` is this file's twin. Pure: no sockets,
no clock, no model. A message is a frozen dataclass whose fields carry their own check, so that one loop decodes all of
them and nothing unchecked gets past this file. Unknown *fields* are ignored (an older server meets a newer page);
unknown *types* are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from .binary import FLAG_KEYFRAME as FLAG_KEYFRAME
from .binary import HEADER_BYTES as HEADER_BYTES
from .binary import KIND_H264 as KIND_H264
from .binary import KIND_JPEG as KIND_JPEG
from .binary import Picture as Picture
from .binary import decode_picture as decode_picture
from .binary import encode_picture as encode_picture
from .checks import Message, flag, integer, list_of, message, number, one_of, optional, text, wire
from .errors import MalformedMessage, MessageTooLarge, WrongVersion

VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024
MAX_PROMPT_CHARS = 500
MAX_SEED = 2**31 - 1
MAX_U32 = 2**32 - 1
MAX_TURN_RAD = 1e6  # cumulative; a spin of 160,000 turns is not a person
MAX_IMAGE_BYTES = 24 * 2**20  # of a file for `POST /api/image`
KEY_NAMES = ("forward", "back", "left", "right", "turn_left", "turn_right", "look_up", "look_down")
CONTROLS = ("walk", "look", "words", "picture")
MAX_TEXT_CHARS = 2000  # of anything that the server writes
MAX_TIME = 1e15  # milliseconds; epoch milliseconds are 1.8e12


def _key_set(value: object) -> object:
    if isinstance(value, frozenset):
        value = sorted(value)
    names = list_of(one_of(*KEY_NAMES), limit=2 * len(KEY_NAMES))(value)
    assert isinstance(names, tuple)
    return frozenset(names)


def _stick(value: object) -> object:
    pair = list_of(number(-1.0, 1.0), limit=2)(value)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError("must be [right, forward], each from -1 to 1")
    return pair


_SEED = integer(0, MAX_SEED)
_U32 = integer(0, MAX_U32)
_PROMPT = text(MAX_PROMPT_CHARS)
_TIME = number(-MAX_TIME, MAX_TIME)
_DURATION_MS = number(0.0, 1e9)
_IMAGE = optional(text(64))
_WORDS = list_of(text(MAX_TEXT_CHARS), limit=MAX_PROMPT_CHARS)


# -- client to server -------------------------------------------------------------------------------------------------


@message
class Hello(Message):
    """Opens the session."""

    TYPE: ClassVar[str] = "hello"
    seed: int = wire(_SEED)
    prompt: str = wire(_PROMPT)
    v: int = wire(integer(VERSION, VERSION), default=VERSION)
    watch: bool = wire(flag, default=False)
    codec: str = wire(one_of("jpeg", "h264"), default="jpeg")
    image: str | None = wire(_IMAGE, default=None)  # id of a picture that was sent to /api/image
    replay: str = wire(text(64), default="")  # id of a kept walk to begin with


@message
class Input(Message):
    """The state of keys, mouse and stick; a lost one costs nothing."""

    TYPE: ClassVar[str] = "input"
    seq: int = wire(integer(1, MAX_U32))
    keys: frozenset[str] = wire(_key_set, default=frozenset())
    yaw: float = wire(number(-MAX_TURN_RAD, MAX_TURN_RAD), default=0.0)  # radians since hello, positive turns right
    pitch: float = wire(number(-MAX_TURN_RAD, MAX_TURN_RAD), default=0.0)  # radians since hello, positive looks up
    move: tuple[float, float] | None = wire(optional(_stick), default=None)  # (right, forward)
    t: float = wire(_TIME, default=0.0)


@message
class Prompt(Message):
    """Change the prompt while walking."""

    TYPE: ClassVar[str] = "prompt"
    prompt: str = wire(_PROMPT)


@message
class Reset(Message):
    """A new world."""

    TYPE: ClassVar[str] = "reset"
    seed: int = wire(_SEED)
    prompt: str = wire(_PROMPT)
    image: str | None = wire(_IMAGE, default=None)


@message
class Rewind(Message):
    """Back to a moment of the walk: the world after `frame` frames of it. Only the player may."""

    TYPE: ClassVar[str] = "rewind"
    frame: int = wire(_U32)


@message
class GoToBranch(Message):
    """To the end of a way that was left by rewinding."""

    TYPE: ClassVar[str] = "branch"
    id: int = wire(_U32)


@message
class TakeOver(Message):
    """Walk on from where the replay is."""

    TYPE: ClassVar[str] = "take_over"


@message
class Pause(Message):
    """The tab is hidden."""

    TYPE: ClassVar[str] = "pause"


@message
class Resume(Message):
    """The tab is visible again."""

    TYPE: ClassVar[str] = "resume"


@message
class Shown(Message):
    """The page put a frame on the screen; `latency_ms` is action-to-photon as the page measured it."""

    TYPE: ClassVar[str] = "shown"
    frame: int = wire(_U32)
    input: int = wire(_U32)
    t: float = wire(_TIME, default=0.0)
    latency_ms: float = wire(_DURATION_MS, default=0.0)


@message
class Keyframe(Message):
    """The decoder lost its place."""

    TYPE: ClassVar[str] = "keyframe"


@message
class Ping(Message):
    TYPE: ClassVar[str] = "ping"  # comes back as `pong`, with the same `t`
    t: float = wire(_TIME)


@message
class Bye(Message):
    """Leaves."""

    TYPE: ClassVar[str] = "bye"


# -- server to client -------------------------------------------------------------------------------------------------


@message
class WorldInfo(Message):
    """`GET /api/world`, and the `world` of `welcome`."""

    name: str = wire(text(MAX_TEXT_CHARS))
    width: int = wire(integer(1, 16384))
    height: int = wire(integer(1, 16384))
    fps: float = wire(number(0.1, 1000.0))
    engine: str = wire(text(MAX_TEXT_CHARS))
    steps: int = wire(integer(1, 1000))
    themes: tuple[str, ...] = wire(_WORDS)
    times: tuple[str, ...] = wire(_WORDS)
    weathers: tuple[str, ...] = wire(_WORDS)
    moods: tuple[str, ...] = wire(_WORDS)
    version: str = wire(text(MAX_TEXT_CHARS))
    protocol: int = wire(integer(1, 1000), default=VERSION)
    max_prompt_chars: int = wire(integer(1, 10_000), default=MAX_PROMPT_CHARS)
    chunk: int = wire(integer(1, 1000), default=1)  # frames drawn at once: an input shows from the next chunk on
    controls: tuple[str, ...] = wire(_WORDS, default=CONTROLS)  # what a player can do


def _world_info(value: object) -> object:
    if isinstance(value, WorldInfo):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return WorldInfo.from_dict(value)


@message
class Welcome(Message):
    TYPE: ClassVar[str] = "welcome"  # the answer to hello
    session: str = wire(text(64))
    role: str = wire(one_of("player", "viewer", "queued"))
    world: WorldInfo = wire(_world_info)
    v: int = wire(integer(1, 1000), default=VERSION)


@message
class State(Message):
    TYPE: ClassVar[str] = "state"  # where the visitor stands, whenever that changes
    state: str = wire(one_of("queued", "live", "paused", "ended"))
    place: int | None = wire(optional(_U32), default=None)  # 1 is next in line
    reason: str | None = wire(optional(text(MAX_TEXT_CHARS)), default=None)


@message
class WorldChanged(Message):
    """After hello, prompt and reset: what the world made of the words."""

    TYPE: ClassVar[str] = "world"
    seed: int = wire(_SEED)
    prompt: str = wire(_PROMPT)
    understood: tuple[str, ...] = wire(_WORDS)
    unknown: tuple[str, ...] = wire(_WORDS)
    image: str | None = wire(_IMAGE, default=None)  # the picture that it began from
    caption: str | None = wire(optional(text(MAX_PROMPT_CHARS)), default=None)  # what the model sees in that picture
    familiar: bool | None = wire(optional(flag), default=None)  # whether it is like those that the model knows


@message
class FrameMeta(Message):
    """One per picture on the WebRTC path."""

    TYPE: ClassVar[str] = "frame"
    frame: int = wire(_U32)  # counts pictures over the life of the server
    input: int = wire(_U32)  # the newest `input.seq` that it answers; 0: none
    rtp: int | None = wire(optional(_U32))  # timestamp of its packets, by which a page finds the picture
    media_time: float = wire(number(0.0, 1e9))  # seconds
    server_ms: float = wire(_DURATION_MS)  # from input arrival to encoded


@message
class Stats(Message):
    """Once a second."""

    TYPE: ClassVar[str] = "stats"
    fps: float = wire(number(0.0, 1e4))
    model_ms: float = wire(_DURATION_MS)
    decode_ms: float = wire(_DURATION_MS)
    encode_ms: float = wire(_DURATION_MS)
    engine: str = wire(text(MAX_TEXT_CHARS))
    steps: int = wire(integer(1, 1000))
    bitrate_bps: int = wire(integer(0, 10**10))
    viewers: int = wire(_U32)
    queue: int = wire(_U32)
    frame: int = wire(_U32)
    seed: int = wire(_SEED)
    dropped: int = wire(_U32)
    drift: str = wire(one_of("fine", "straying", "lost"), default="fine")  # how far from the world asked for


@message
class Branch(Message):
    """A way that was left by rewinding, one of `timeline.branches`."""

    id: int = wire(_U32)
    start: int = wire(_U32)  # the last moment that it shares with the current way
    end: int = wire(_U32)


def _branch(value: object) -> object:
    if isinstance(value, Branch):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return Branch.from_dict(value)


@message
class Timeline(Message):
    """Where the player's walk stands, to the player: about once a second, and whenever it jumps."""

    TYPE: ClassVar[str] = "timeline"
    now: int = wire(_U32)
    fps: float = wire(number(0.1, 1000.0))
    moments: tuple[int, ...] = wire(list_of(_U32, limit=10_000))
    branches: tuple[Branch, ...] = wire(list_of(_branch, limit=1000))
    replay: int | None = wire(optional(_U32), default=None)
    progress: float | None = wire(optional(number(0.0, 1.0)), default=None)


@message
class Notice(Message):
    TYPE: ClassVar[str] = "notice"  # what a person may want to know; nothing is wrong
    code: str = wire(text(64))
    message: str = wire(text(MAX_TEXT_CHARS))


@message
class ErrorMessage(Message):
    TYPE: ClassVar[str] = "error"  # what went wrong and what to do; `id` stands in the server's log too
    code: str = wire(text(64))
    message: str = wire(text(MAX_TEXT_CHARS))
    remedy: str = wire(text(MAX_TEXT_CHARS))
    fatal: bool = wire(flag)
    id: str = wire(text(64))


@message
class Pong(Message):
    TYPE: ClassVar[str] = "pong"
    t: float = wire(_TIME)


CLIENT_MESSAGES: dict[str, type[Message]] = {
    kind.TYPE: kind
    for kind in (Hello, Input, Prompt, Reset, Rewind, GoToBranch, TakeOver, Pause, Resume, Shown, Keyframe, Ping, Bye)
}
SERVER_MESSAGES: dict[str, type[Message]] = {
    kind.TYPE: kind for kind in (Welcome, State, WorldChanged, FrameMeta, Stats, Timeline, Notice, ErrorMessage, Pong)
}


# -- text -------------------------------------------------------------------------------------------------------------


def encode(item: Message) -> str:
    """One line of JSON. Cannot fail on a message that was constructed."""

    def plain(value: object) -> object:
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value.as_dict() if isinstance(value, Message) else value

    return json.dumps({name: plain(value) for name, value in item.as_dict().items()}, separators=(",", ":"))


def decode_client(data: str | bytes) -> Message:
    """What a client sent. Raises MalformedMessage, MessageTooLarge or WrongVersion; never anything else."""
    return _decode(data, CLIENT_MESSAGES, MAX_MESSAGE_BYTES)


def decode_server(data: str | bytes) -> Message:
    """What a server sent. Raises as `decode_client`; servers may send more bytes (`welcome` lists all words)."""
    return _decode(data, SERVER_MESSAGES, 16 * MAX_MESSAGE_BYTES)


def parse_hello(data: object) -> Hello:
    """The `hello` of `POST /api/offer`, which arrives as an object already. Raises as `decode_client`."""
    hello = _build(data, CLIENT_MESSAGES)
    if not isinstance(hello, Hello):
        raise MalformedMessage(f"expected hello, got {hello.TYPE}")
    return hello


def _decode(raw: str | bytes, kinds: Mapping[str, type[Message]], limit_bytes: int) -> Message:
    size = len(raw) if isinstance(raw, bytes) else len(raw.encode("utf-8", "surrogatepass"))
    if size > limit_bytes:
        raise MessageTooLarge(f"a message of {size} bytes; {limit_bytes} is the limit")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):  # also UnicodeDecodeError and numbers of 4,300 digits
        raise MalformedMessage("not JSON") from None
    return _build(data, kinds)


def _build(data: object, kinds: Mapping[str, type[Message]]) -> Message:
    if not isinstance(data, dict):
        raise MalformedMessage("a message is a JSON object")
    name = data.get("type")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MalformedMessage(f"unknown message type {str(name)[:40]!r}")
    if kind is Hello and (type(data.get("v")) is not int or data["v"] != VERSION):
        raise WrongVersion(f"this server speaks protocol {VERSION}, not {str(data.get('v'))[:40]}")
    try:
        return kind.from_dict(data)
    except (ValueError, OverflowError) as error:
        raise MalformedMessage(str(error)) from None
