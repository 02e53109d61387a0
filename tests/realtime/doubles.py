"""Stand-ins for what a test does not want to be real: time, and the line to a user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from worldstream.realtime.checks import Message
from worldstream.realtime.errors import WorldstreamError
from worldstream.realtime.mailbox import Drawn
from worldstream.realtime.protocol import WorldInfo
from worldstream.realtime.serve import House
from worldstream.realtime.services import HOUSEHOLD, Caller
from worldstream.realtime.session import Codec

M = TypeVar("M", bound=Message)


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class OpenDoor:
    """Admits everybody and keeps no books. Satisfies `services.Authority`."""

    async def admit(self, secret: str | None, scope: str) -> Caller:
        return Caller(HOUSEHOLD)

    async def charge(self, caller: Caller, model: str, credits: int) -> None: ...

    async def note(self, caller: Caller, action: str, resource: str, resource_id: str) -> None: ...


@dataclass
class FakeLink:
    """Records what the user would have seen."""

    codec: Codec = "jpeg"
    dropped: int = 0
    bandwidth_bps: int | None = None
    messages: list[Message] = field(default_factory=list)
    pictures: list[tuple[Drawn, int]] = field(default_factory=list)
    closed: bool = False
    error: WorldstreamError | None = None
    skips: int = 0

    def send(self, message: Message) -> None:
        if not self.closed:
            self.messages.append(message)

    def show(self, drawn: Drawn, input_id: int) -> None:
        self.pictures.append((drawn, input_id))

    def skip(self) -> None:
        self.skips += 1

    def close(self, error: WorldstreamError | None) -> None:
        if not self.closed:
            self.closed, self.error = True, error

    def said(self, kind: type[M]) -> list[M]:
        """All messages of one kind, oldest first."""
        return [message for message in self.messages if isinstance(message, kind)]


async def eventually(holds: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until `holds()`; fails after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class RunningServer:
    port: int
    house: House

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/socket"


WORLD_INFO = WorldInfo(
    name="fake",
    width=320,
    height=192,
    fps=24.0,
    engine="none",
    steps=2,
    themes=("forest",),
    times=("dusk",),
    weathers=("clear",),
    moods=("warm",),
    version="0",
)
