"""Logs of walks over HTTP: take one away, share one under an id of its own, bring one along.

    GET  /api/sessions/<id>/log     the log of a live session as it is now, or of a kept one
    POST /api/sessions/<id>/share   freeze the live session's log -> {"id", "days"}
    POST /api/sessions              the body is a log -> {"id", "seed", "prompt", "frames", "notes"}

An id cannot be guessed, and whoever has it may read the log. Files are written and read on a thread of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from . import mailbox
from .archive import Archive, fresh_id
from .errors import MessageTooLarge, SessionFailed, TooManySessions
from .mailbox import LogTaken
from .replay import accepted, check_image

if TYPE_CHECKING:
    from ..worlds.core import World
    from .lobby import Lobby

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 33 * 2**20  # what a live walk may grow to, and its header
MAX_UPLOADS = 2  # at a time; each is held in memory
PIECE_BYTES = 64 * 1024
WORKER_PATIENCE_S = 20.0
LIVE = "live/"  # begins the ticket of a log that goes on; no id holds a slash


class Sharing:
    """Between HTTP, the worker and the archive. Lives on the event loop."""

    def __init__(self, lobby: Lobby, archive: Archive, days: float, world: World) -> None:
        self._lobby, self._archive, self._days, self._world = lobby, archive, days, world
        self._files = ThreadPoolExecutor(1, "worldstream-files")
        self._asked: dict[str, asyncio.Future[bytes | None]] = {}
        self._uploads = 0
        lobby.on_log = self.on_log

    def on_log(self, event: LogTaken) -> None:
        """The worker hands a log over."""
        waiting = self._asked.pop(event.ticket, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(event.content)
        elif not event.ticket.startswith(LIVE) and event.content is not None:
            self._files.submit(self._keep, event.ticket, event.content)

    async def close(self) -> None:
        """Write what is still to be written."""
        await asyncio.get_running_loop().run_in_executor(None, self._files.shutdown)

    async def log(self, id: str) -> bytes:
        """Raises NoSuchLog."""
        live = await self._live(id)
        return live if live is not None else await self._on_disk(self._archive.load, id)

    async def share(self, id: str) -> dict[str, Any]:
        """A copy of the live walk under an id of its own, which what happens later does not change."""
        content = await self.log(id)
        shared = fresh_id()
        await self._on_disk(self._archive.keep, shared, content)
        return {"id": shared, "days": self._days}

    async def accept(self, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """Keep a log that somebody brings. Raises BadLog, MessageTooLarge or TooManySessions."""
        if self._uploads >= MAX_UPLOADS:
            raise TooManySessions(f"{MAX_UPLOADS} logs are being read already.")
        self._uploads += 1
        try:
            content = bytearray()
            async for piece in body:
                content += piece
                if len(content) > MAX_LOG_BYTES:
                    raise MessageTooLarge(f"a log of more than {MAX_LOG_BYTES} bytes")
            return await self._on_disk(self._accept, content)
        finally:
            self._uploads -= 1

    def _accept(self, raw: bytearray) -> dict[str, Any]:
        content = bytes(raw)
        header, frames, notes = accepted(content, lambda: time.sleep(0.001))  # the live walk draws meanwhile
        check_image(header, self._world)
        id = fresh_id()
        self._archive.keep(id, content)
        return {"id": id, "seed": header.seed, "prompt": header.prompt, "frames": frames, "notes": notes}

    async def _live(self, id: str) -> bytes | None:
        """The log of the walk that goes on, or None where the id is not its session's."""
        player = self._lobby.player
        if player is None or player.id != id:
            return None
        ticket = LIVE + id
        waiting = self._asked.get(ticket)
        if waiting is None:
            waiting = self._asked[ticket] = asyncio.get_running_loop().create_future()
            self._lobby.submit(mailbox.TakeLog(ticket))
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), WORKER_PATIENCE_S)
        except TimeoutError:
            self._asked.pop(ticket, None)
            raise SessionFailed("The world did not hand over its log in time.") from None

    async def _on_disk(self, work: Callable[..., Any], *given: object) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, work, *given)
        except OSError as error:
            failed = SessionFailed(f"The log could not be written: {error.strerror or error}.")
            logger.warning("log not written, id %s: %s", failed.id, error)
            raise failed from None

    def _keep(self, id: str, content: bytes) -> None:
        try:
            self._archive.keep(id, content)
        except OSError as error:
            logger.warning("the log of session %s could not be written: %s", id, error)


def add_sharing(app: FastAPI, sharing: Sharing, check_origin: Callable[[Request], None]) -> None:
    """The routes. `check_origin` raises ForbiddenOrigin for pages of other sites."""

    @app.get("/api/sessions/{id}/log")
    async def log(id: str, request: Request) -> Response:
        check_origin(request)
        content = await sharing.log(id)
        headers = {
            "Content-Disposition": f'attachment; filename="walk-{id}.jsonl"',
            "Content-Length": str(len(content)),
        }
        return StreamingResponse(_pieces(content), media_type="application/x-ndjson", headers=headers)

    @app.post("/api/sessions/{id}/share", status_code=201)
    async def share(id: str, request: Request) -> dict[str, Any]:
        check_origin(request)
        return await sharing.share(id)

    @app.post("/api/sessions", status_code=201)
    async def bring(request: Request) -> dict[str, Any]:
        check_origin(request)
        return await sharing.accept(request.stream())


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def body_limit(path: str, usual: int) -> int:
    """Bytes that a request may carry."""
    return MAX_LOG_BYTES if path == "/api/sessions" else usual
