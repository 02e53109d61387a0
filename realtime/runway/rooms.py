"""Realtime sessions: talks with an avatar. A browser exchanges the session key, once, for its way into the room; the
customer's tool server comes in hidden by its API key."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .. import talks
from ..store import library
from ..store.library import RealtimeSession
from ..talks import NoRooms, Rooms, Talks
from .asking import keyless, services_of
from .bodies import Body, many, number, one_of, option, whole
from .desk import At, Desk, checked, new_id
from .errors import ApiError, answer, invalid
from .pages import stamp
from .value_sets import AVATARS

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

_WHAT = "A realtime session with this id"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "86400",
}


class PresetChoice(Body):
    type: Literal["runway-preset"]
    presetId: one_of(*AVATARS)


class CustomChoice(Body):
    type: Literal["custom"]
    avatarId: Annotated[str, Field(min_length=1, max_length=60)]


class Items(Body):
    type: Literal["string", "integer", "number", "boolean"]


class _Parameter(Body):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=1024)]
    required: bool = option(True)


class StringParameter(_Parameter):
    type: Literal["string"]
    enum: many(str, 20) = option()


class PlainParameter(_Parameter):
    type: Literal["integer", "number", "boolean"]


class ArrayParameter(_Parameter):
    type: Literal["array"]
    items: Items


class ObjectParameter(_Parameter):
    type: Literal["object"]
    properties: Annotated[list[Parameter], Field(max_length=20)]


Parameter = Annotated[StringParameter | PlainParameter | ArrayParameter | ObjectParameter, Field(discriminator="type")]


class _Tool(Body):
    name: Annotated[str, Field(max_length=64, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
    description: Annotated[str, Field(min_length=1, max_length=1024)]
    parameters: many(Parameter, 20) = option([])


class ClientEvent(_Tool):
    type: Literal["client_event"]


class BackendRpc(_Tool):
    type: Literal["backend_rpc"]
    timeoutSeconds: number(1, 8) = option(4.0)


class ElevenLabs(Body):
    type: Literal["elevenlabs"]
    signedUrl: Annotated[str, Field(min_length=1, max_length=2048)]


class OwnRoom(Body):
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    token: Annotated[str, Field(min_length=1, max_length=2048)]
    roomName: Annotated[str, Field(min_length=1, max_length=256)]
    agentIdentity: Annotated[str, Field(min_length=1, max_length=256)] = option()


class LiveKit(OwnRoom):
    type: Literal["livekit"]


class NewSession(Body):
    model: Literal["gwm1_avatars"]
    avatar: Annotated[PresetChoice | CustomChoice, Field(discriminator="type")]
    maxDuration: whole(10, 1800) = option(300)
    personality: Annotated[str, Field(min_length=1, max_length=10_000)] = option()
    startScript: Annotated[str, Field(min_length=1, max_length=2000)] = option()
    tools: many(Annotated[ClientEvent | BackendRpc, Field(discriminator="type")], 20) = option([])
    integration: Annotated[ElevenLabs | LiveKit, Field(discriminator="type")] = option()
    livekit: OwnRoom = option()  # the older name of an integration of type livekit

    @model_validator(mode="after")
    def _one_of_each(self) -> NewSession:
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            raise PydanticCustomError("custom", "tools must have different names")
        if {"integration", "livekit"} <= self.model_fields_set:
            raise PydanticCustomError("custom", "give either integration or livekit")
        return self


def add(app: FastAPI) -> None:
    if not hasattr(app.state, "rooms"):
        app.state.rooms = NoRooms()
    app.post("/realtime_sessions")(create)
    app.get("/realtime_sessions/{id}")(retrieve)
    app.delete("/realtime_sessions/{id}", status_code=204, response_class=Response)(delete)
    app.post("/realtime_sessions/{id}/consume")(consume)
    app.options("/realtime_sessions/{id}/consume", include_in_schema=False)(preflight)
    app.post("/realtime_sessions/{id}/connect_backend")(connect_backend)


def new_key() -> str:
    """A session key."""
    return f"rsk_{secrets.token_urlsafe(32)}"


def talks_of(request: Request) -> Talks:
    return Talks(services_of(request), rooms_of(request), new_key)


def rooms_of(request: Request) -> Rooms:
    found: Rooms = request.app.state.rooms
    return found


async def create(body: NewSession, at: At) -> dict[str, Any]:
    """The applied maxDuration comes back with the id: it is honoured or refused, never shortened."""
    avatar, avatar_id = await _avatar(at, body)
    sent = body.sent()
    integration = sent.get("integration") or ({"type": "livekit", **sent["livekit"]} if "livekit" in sent else None)
    id = new_id()
    session = RealtimeSession(
        id=id,
        owner=at.owner,
        created_s=at.now(),
        state="NOT_READY",
        avatar=avatar,
        avatar_id=avatar_id,
        max_s=body.maxDuration,
        personality=body.personality,
        start_script=body.startScript,
        tools=sent["tools"],
        integration=integration,
        room=integration["roomName"] if integration and integration["type"] == "livekit" else f"talk-{id}",
    )
    await at.write(lambda c: library.sessions.put(c, session))
    await at.note("realtime_session.create", "realtime_session", id)
    return {"id": id, "maxDuration": session.max_s}


async def retrieve(id: str, at: At) -> dict[str, Any]:
    session = await _current(at, id)
    found: dict[str, Any] = {
        "id": id,
        "createdAt": stamp(session.created_s),
        "status": session.state,
        "maxDuration": session.max_s,
    }
    if session.state == "READY":
        found |= {"sessionKey": session.session_key, "expiresAt": stamp(session.expires_s or 0.0)}
    if session.state == "COMPLETED":
        found["duration"] = talks.duration(session, at.now())
    if session.state == "FAILED":
        found |= {"failure": session.failure, "failureCode": session.failure_code}
    return found


async def delete(id: str, at: At) -> None:
    """A session that goes on is CANCELLED; one that is over stays as it ended."""
    checked(id, _WHAT)
    await at.read(lambda c: library.sessions.get(c, at.owner, id), _WHAT)
    await talks_of(at.request).change(id, lambda s, now: talks.cancelled(s, now) if s.state in talks.NEXT else s)
    await at.note("realtime_session.delete", "realtime_session", id)


@keyless
async def preflight(id: str) -> Response:
    """Browsers ask first: the page and this server have different origins."""
    return Response(status_code=204, headers=_CORS)


@keyless
async def consume(id: str, request: Request) -> Response:
    """The way into the room, for whoever holds the session key: once."""
    try:
        session = await _consumed(id, request)
    except ApiError as error:
        refused = answer(error)
        refused.headers.update(_CORS)
        return refused
    return JSONResponse(_entrance(request, session, f"user-{session.id}"), headers=_CORS)


async def connect_backend(id: str, at: At) -> dict[str, Any]:
    """A hidden way into the room for the server that answers the avatar's tools."""
    session = await _current(at, id)
    if session.state not in ("READY", "RUNNING"):
        raise ApiError(400, f"This session is {session.state}; tools can join one that is READY or RUNNING.")
    return _entrance(at.request, session, f"backend-{new_id()}", hidden=True)


async def _current(at: Desk, id: str) -> RealtimeSession:
    """The owner's session as it is now. Clients poll this, so nothing is written where time has changed nothing."""
    checked(id, _WHAT)
    session = await at.read(lambda c: library.sessions.get(c, at.owner, id), _WHAT)
    if talks.aged(session, at.now()) == session:
        return session
    return await talks_of(at.request).change(id, talks.aged)


async def _consumed(id: str, request: Request) -> RealtimeSession:
    checked(id, _WHAT)
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    now = round(services_of(request).clock(), 3)

    def work(connection: Any) -> RealtimeSession:
        session = library.sessions.get(connection, None, id, hold=True)
        known = session.key_hash and hmac.compare_digest(session.key_hash, talks.key_hash(key.strip()))
        if scheme.lower() != "bearer" or not known:
            raise ApiError(401, "Send the session key of this session: Authorization: Bearer rsk_…")
        if session.consumed_s is not None:
            raise ApiError(403, "This session key has been used; it lets one client in, once.")
        if talks.aged(session, now).state != "READY":
            raise ApiError(403, "This session is over, or its key has expired.")
        return library.sessions.replace(connection, talks.consumed(session, now))

    try:
        return await services_of(request).database.write(work)
    except KeyError:
        raise ApiError(404, f"{_WHAT} was not found.") from None


def _entrance(request: Request, session: RealtimeSession, identity: str, *, hidden: bool = False) -> dict[str, Any]:
    services, rooms = services_of(request), rooms_of(request)
    claims = talks.claims(session, identity, services.clock(), hidden=hidden)
    base_url = services.base_url(request.headers.get("host"), request.url.scheme)
    return {"url": rooms.url(base_url), "token": rooms.sign(claims), "roomName": session.room}


async def _avatar(at: Desk, body: NewSession) -> tuple[dict[str, Any], str]:
    """The avatar as the session remembers it, and what it is found by. Raises a 400."""
    if isinstance(body.avatar, PresetChoice):
        preset = body.avatar.presetId
        return {"type": "runway-preset", "presetId": preset, "name": preset.replace("-", " ").capitalize()}, preset
    id = body.avatar.avatarId
    try:
        avatar = await at.services.database.read(lambda c: library.avatars.get(c, at.owner, id))
    except KeyError:
        raise invalid(["avatar", "avatarId"], f"There is no avatar {id!a}.") from None
    if avatar.state != "READY":
        raise invalid(["avatar", "avatarId"], f"This avatar is {avatar.state}; it must be READY.")
    return {"type": "custom", "avatarId": id, "name": avatar.name}, id
