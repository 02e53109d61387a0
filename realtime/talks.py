"""The life of a realtime session, as a pure state machine, and the seam at which a media room joins it.

    NOT_READY ─► READY ─► RUNNING ─► COMPLETED
        └──────────┴─────────┴─────► FAILED, CANCELLED

A session is READY when the room stands and holds a key, RUNNING only once the avatar itself has said that its media
runs, and ends by END_CALL, by its time limit (the whole of it, never less), by DELETE, or by a failure with a reason.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from .services import Services
from .store import library
from .store.library import RealtimeSession

log = logging.getLogger(__name__)

NEXT = {
    "NOT_READY": ("READY", "FAILED", "CANCELLED"),
    "READY": ("RUNNING", "FAILED", "CANCELLED"),
    "RUNNING": ("COMPLETED", "FAILED", "CANCELLED"),
}
KEY_LIFE_S = 300.0  # how long a session key waits to be used
PREPARE_LIMIT_S = 60.0  # for the room to stand
JOIN_LIMIT_S = 30.0  # from the key's use to running media
TOKEN_SPARE_S = 60.0  # a room token outlives the session's limit by this


class RoomRefused(Exception):
    """No room for a session. `code` is a failure code of the contract, the text is shown to whoever asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Rooms(Protocol):
    """Media rooms that speak the LiveKit protocol. Whoever runs them reports to `Talks`: began, said, ended, failed."""

    def url(self, base_url: str) -> str:
        """Where clients connect, ws:// or wss://; `base_url` is how this client reaches the server."""
        ...

    def sign(self, claims: dict[str, Any]) -> str:
        """A room token: these claims, signed so that the room believes them."""
        ...

    async def prepare(self, session: RealtimeSession) -> None:
        """Let a room stand and an avatar wait in it. Raises RoomRefused."""
        ...

    async def close(self, session: RealtimeSession) -> None:
        """Everybody out."""
        ...


class NoRooms:
    """A server without media rooms: every session fails at once and says why."""

    def url(self, base_url: str) -> str:
        raise AssertionError("no session of this server is ever READY")

    def sign(self, claims: dict[str, Any]) -> str:
        raise AssertionError("no session of this server is ever READY")

    async def prepare(self, session: RealtimeSession) -> None:
        message = "This server has no media room for avatars yet, so nobody can talk with one; sessions are only kept."
        raise RoomRefused("INTERNAL.NO_MEDIA_ROOM", message)

    async def close(self, session: RealtimeSession) -> None:
        return None


def move(session: RealtimeSession, state: str, **values: Any) -> RealtimeSession:
    """Into another state. A key that is not needed any more is forgotten."""
    assert state in NEXT.get(session.state, ()), (session.state, state)
    return replace(session, **({"state": state, "session_key": ""} | values))


def ready(session: RealtimeSession, now: float, key: str) -> RealtimeSession:
    """The room stands; `key` lets one client in, once."""
    return move(session, "READY", session_key=key, key_hash=key_hash(key), expires_s=now + KEY_LIFE_S)


def consumed(session: RealtimeSession, now: float) -> RealtimeSession:
    """The key was used."""
    assert (session.state, session.consumed_s) == ("READY", None), session
    return replace(session, consumed_s=now, session_key="")


def began(session: RealtimeSession, now: float) -> RealtimeSession:
    """Media runs."""
    return move(session, "RUNNING", started_s=now)


def ended(session: RealtimeSession, now: float) -> RealtimeSession:
    return move(session, "COMPLETED", ended_s=now)


def cancelled(session: RealtimeSession, now: float) -> RealtimeSession:
    return move(session, "CANCELLED", ended_s=now)


def failed(session: RealtimeSession, now: float, code: str, message: str) -> RealtimeSession:
    return move(session, "FAILED", ended_s=now, failure=message, failure_code=code)


def aged(session: RealtimeSession, now: float) -> RealtimeSession:
    """What time alone makes of a session."""
    if session.state == "NOT_READY" and now >= session.created_s + PREPARE_LIMIT_S:
        return failed(session, now, "INTERNAL", f"No room stood within {PREPARE_LIMIT_S:.0f} s.")
    if session.state == "READY" and session.consumed_s is not None and now >= session.consumed_s + JOIN_LIMIT_S:
        return failed(session, now, "INTERNAL", f"No media ran within {JOIN_LIMIT_S:.0f} s of the key's use.")
    if session.state == "READY" and session.consumed_s is None and now >= (session.expires_s or 0.0):
        return failed(session, now, "SESSION.EXPIRED", f"Nobody used the session key within {KEY_LIFE_S:.0f} s.")
    if session.state == "RUNNING":
        assert session.started_s is not None
        if now >= session.started_s + session.max_s:
            return ended(session, session.started_s + session.max_s)
    return session


def duration(session: RealtimeSession, now: float) -> int | None:
    """Whole seconds that media ran; None where it never did."""
    if session.started_s is None:
        return None
    return round((session.ended_s if session.ended_s is not None else now) - session.started_s)


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def token(claims: dict[str, Any], secret: bytes) -> str:
    """A JSON Web Token signed with HMAC and SHA-256 (RFC 7515, RFC 7518 section 3.2)."""
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(_base64url(part) for part in parts)
    return b".".join([signed, _base64url(hmac.digest(secret, signed, "sha256"))]).decode()


def claims(session: RealtimeSession, identity: str, now: float, *, hidden: bool = False) -> dict[str, Any]:
    """What a participant may do in a session's room: a user sends and receives everything, a hidden one (the customer's
    tools) exchanges data only. Times are whole Unix seconds."""
    video = {"roomJoin": True, "room": session.room, "canPublishData": True}
    video |= {"canPublish": not hidden, "canSubscribe": not hidden} | ({"hidden": True} if hidden else {})
    until = now + session.max_s + JOIN_LIMIT_S + TOKEN_SPARE_S
    return {"sub": identity, "nbf": int(now) - 5, "exp": int(until), "video": video}


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Talks:
    """Sessions as they are kept. `tick` prepares rooms and lets time pass; a media room reports here."""

    def __init__(self, services: Services, rooms: Rooms, new_key: Callable[[], str]) -> None:
        self._services, self._rooms, self._new_key = services, rooms, new_key

    async def tick(self) -> None:
        for session in await self._services.database.read(library.open_sessions):
            if session.state == "NOT_READY":
                await self._prepare(session)
            if aged(session, self._services.clock()) != session:
                await self.change(session.id, aged)

    async def began(self, id: str) -> RealtimeSession:
        """The avatar's media runs. Raises KeyError; a session that is over stays so."""
        return await self.change(id, lambda s, now: began(s, now) if s.state == "READY" else s)

    async def said(self, id: str, line: dict[str, Any]) -> RealtimeSession:
        """One line of the transcript, as the contract has it; the first thousand are kept."""
        return await self.change(id, lambda s, _: replace(s, transcript=[*s.transcript, line][:1000]))

    async def ended(self, id: str) -> RealtimeSession:
        """END_CALL, or everybody has left."""
        return await self.change(id, lambda s, now: ended(s, now) if s.state == "RUNNING" else s)

    async def failed(self, id: str, code: str, message: str) -> RealtimeSession:
        return await self.change(id, lambda s, now: failed(s, now, code, message) if s.state in NEXT else s)

    async def change(self, id: str, how: Callable[[RealtimeSession, float], RealtimeSession]) -> RealtimeSession:
        """Apply `how` to the session as it is now, in one transaction, and close the room of one that is over. Raises
        KeyError."""
        now = round(self._services.clock(), 3)

        def work(connection: Any) -> tuple[RealtimeSession, RealtimeSession]:
            before = library.sessions.get(connection, None, id, hold=True)
            after = how(before, now)
            return before, after if after == before else library.sessions.replace(connection, after)

        before, after = await self._services.database.write(work)
        if before.state in NEXT and after.state not in NEXT:
            await self._rooms.close(after)
        return after

    async def _prepare(self, session: RealtimeSession) -> None:
        try:
            await self._rooms.prepare(session)
        except RoomRefused as refused:
            await self.failed(session.id, refused.code, refused.message)
            return
        key = self._new_key()
        await self.change(session.id, lambda s, now: ready(s, now, key) if s.state == "NOT_READY" else s)
