"""Conversations: what is known of realtime sessions afterwards, under the same ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response

from .. import talks
from ..store import library
from ..store.library import Avatar, RealtimeSession
from .desk import At, checked
from .errors import ApiError
from .links import link
from .lists import Cursor, Limit, after, moment
from .pages import cursor_of, page, stamp

_WHAT = "A conversation with this id"
_STATUS = {"COMPLETED": "ended", "CANCELLED": "ended", "FAILED": "failed"}
Date = Annotated[str | None, Query(min_length=10, max_length=40)]


def add(app: FastAPI) -> None:
    app.get("/avatar_conversations")(listed)
    app.get("/avatar_conversations/{id}")(retrieve)
    app.delete("/avatar_conversations/{id}", status_code=204, response_class=Response)(delete)


async def listed(
    at: At,
    limit: Limit = 20,
    cursor: Cursor = None,
    avatar: Annotated[str | None, Query(min_length=1, max_length=60)] = None,
    start: Annotated[Date, Query(alias="startDate")] = None,
    end: Annotated[Date, Query(alias="endDate")] = None,
) -> dict[str, Any]:
    """`avatar` is the id of one's own avatar or the name of a preset."""
    place = after(cursor)
    from_s = None if start is None else moment(start, "startDate")
    until_s = None if end is None else moment(end, "endDate", ends_day=True)
    rows = await at.read(lambda c: library.talks(c, at.owner, limit + 1, place, avatar or "", from_s, until_s))
    now = at.now()
    return page(rows, limit, lambda s: _brief(talks.aged(s, now), now), lambda s: cursor_of(s.created_s, s.id))


async def retrieve(id: str, at: At) -> dict[str, Any]:
    checked(id, _WHAT)

    def work(connection: Any) -> tuple[RealtimeSession, Avatar | None]:
        session = library.sessions.get(connection, at.owner, id)
        if session.forgotten:
            raise KeyError(id)
        try:
            return session, library.avatars.get(connection, at.owner, session.avatar_id)
        except KeyError:
            return session, None

    session, avatar = await at.read(work, _WHAT)
    now = at.now()
    session = talks.aged(session, now)
    found = _brief(session, now) | {
        "avatar": _avatar(session) | ({"imageUrl": _image(at, avatar)} if session.avatar["type"] == "custom" else {}),
        "maxDuration": session.max_s,
        "startedAt": _stamp(session.started_s),
        "recordingUrl": link(at, session.recording),
        "tools": [{key: tool[key] for key in ("type", "name", "description")} for tool in session.tools],
        "transcript": session.transcript,
    }
    if found["status"] != "in_progress":
        found["endedAt"] = _stamp(session.ended_s)
    if found["status"] == "failed":
        found |= {"failure": session.failure, "failureCode": session.failure_code}
    return found


async def delete(id: str, at: At) -> None:
    checked(id, _WHAT)

    def work(connection: Any) -> RealtimeSession:
        session = library.sessions.get(connection, at.owner, id)
        if session.forgotten:
            raise KeyError(id)
        if talks.aged(session, at.now()).state in talks.NEXT:
            raise ApiError(409, "This conversation goes on; end its session first: DELETE /v1/realtime_sessions/{id}.")
        gone = replace(session, forgotten=True, transcript=[], recording="", personality=None, start_script=None)
        library.sessions.replace(connection, gone)
        return session

    session = await at.write(work, _WHAT)
    if session.recording:
        await at.services.blobs.remove(session.recording)
    await at.note("avatar_conversation.delete", "avatar_conversation", id)


def _brief(session: RealtimeSession, now: float) -> dict[str, Any]:
    return {
        "id": session.id,
        "name": session.avatar["name"],
        "status": _STATUS.get(session.state, "in_progress"),
        "avatar": _avatar(session),
        "createdAt": stamp(session.created_s),
        "duration": talks.duration(session, now),
        "hasTools": bool(session.tools),
    }


def _avatar(session: RealtimeSession) -> dict[str, Any]:
    given = session.avatar
    if given["type"] == "runway-preset":
        return dict(given)
    return {"type": "custom", "id": given["avatarId"], "name": given["name"]}


def _image(at: At, avatar: Avatar | None) -> str | None:
    return link(at, avatar.portrait or avatar.reference) if avatar else None


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else stamp(seconds)
