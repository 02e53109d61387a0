"""Bodies of requests as they arrive: no larger than they may be, no slower than a poor line, and together no more than
this machine's memory is meant to hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive

from .body_limits import Limit

KEPT_BYTES = 256 * 1024  # what is still to come after an answer: more of it, and the connection is closed
LINGER_S, LINGER_BYTES = 3.0, 32 * 2**20  # a client that is still sending may need so much to see its answer
GONE: MutableMapping[str, Any] = {"type": "http.disconnect"}


@dataclass(frozen=True, slots=True)
class ArrivalConfig:
    """How long and how much."""

    silence_s: float = 15.0  # between two pieces
    grace_s: float = 30.0  # from then on the whole has a least pace: whoever trickles is sent away
    least_bytes_per_s: float = 8 * 1024
    held_bytes: int = 128 * 2**20  # of all requests together: two of the largest at once


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the rest of a body is not read."""

    status: int  # 408, 413 or 503
    text: str


class Arrivals:
    """All requests of a server. Lives on the event loop."""

    def __init__(self, config: ArrivalConfig = ArrivalConfig(), clock: Callable[[], float] = time.monotonic) -> None:
        self.config, self.clock = config, clock
        self.held = 0  # bytes in memory


class Arrival:
    """One request's body; `stated` is its length as the request says. Once `refusal` is set, the application has heard
    that its sender has gone."""

    def __init__(self, all: Arrivals, limit: Limit, receive: Receive, stated: int | None = None) -> None:
        self._all, self._limit, self._receive, self._stated = all, limit, receive, stated
        self._total, self._complete = 0, False
        self._began_s = all.clock()
        self.refusal: Refusal | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """As ASGI's."""
        if self._complete:  # what comes now is that the client goes, whenever it likes
            return await self._receive()
        if self.refusal is not None:
            return GONE
        try:
            async with asyncio.timeout(self._all.config.silence_s if self._limit.held else None):
                message = await self._receive()
        except TimeoutError:
            self.refusal = Refusal(408, "The request came too slowly.")
            return GONE
        self._complete = not message.get("more_body", False)
        self.refusal = self._weighed(len(message.get("body", b"")))
        return message if self.refusal is None else GONE

    def _weighed(self, size: int) -> Refusal | None:
        self._total += size
        if self._limit.held:
            self._all.held += size
        if self._total > self._limit.bytes:
            return Refusal(413, f"a body may have at most {self._limit.bytes} bytes")
        if not self._limit.held:
            return None
        config = self._all.config
        late_s = self._all.clock() - self._began_s - config.grace_s
        if not self._complete and late_s > 0.0 and self._total < late_s * config.least_bytes_per_s:
            return Refusal(408, "The request came too slowly.")
        if size and self._all.held > config.held_bytes and self._all.held > self._total:
            return Refusal(503, "Too much is being sent to this server at once. Try again in a moment.")
        return None

    @property
    def much_is_to_come(self) -> bool:
        """Whether a client that has its answer would go on sending for long: it would all be read, for nothing."""
        return not self._complete and (self._stated is None or self._stated - self._total > KEPT_BYTES)

    async def linger(self) -> None:
        """Read on for a moment: a connection that is closed while its client sends may lose the answer on the way."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._complete and size < LINGER_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self._complete = not message.get("more_body", False)

    def end(self) -> None:
        """The request is over, and its memory free."""
        if self._limit.held:
            self._all.held -= self._total
            self._total = 0
