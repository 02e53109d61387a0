"""What people keep: documents, avatars and voices, and the realtime sessions that use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from .database import Migration, create
from .shelf import Shelf, owned

_METADATA = sa.MetaData()


@dataclass(frozen=True, slots=True)
class Document:
    """Knowledge of an avatar."""

    id: str  # UUID 4
    owner: str
    created_s: float  # Unix time
    updated_s: float
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Avatar:
    """Somebody to talk to. `voice` is the voice as the client gave it, `documents` are ids of documents."""

    id: str
    owner: str
    created_s: float
    updated_s: float
    name: str
    personality: str
    start_script: str | None
    voice: dict[str, Any]
    documents: list[str]
    reference: str  # key of a blob: the picture as it was given
    processing: str  # optimize or none
    state: str  # PROCESSING, READY or FAILED
    task: str = ""  # that fits the picture, while it is processed
    portrait: str = ""  # key of a blob: the picture as it is animated
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice made from a recording or from words. `origin` is {"type": "audio", "blob"} or {"type": "text", "prompt",
    "model"}."""

    id: str
    owner: str
    created_s: float
    name: str
    description: str | None
    origin: dict[str, Any]
    state: str  # PROCESSING, READY or FAILED
    task: str = ""  # that makes the preview, while it is processed
    preview: str = ""  # key of a blob
    failure: str = ""


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """A talk with an avatar, and afterwards what is known of it. Times are Unix seconds, None where not yet."""

    id: str
    owner: str
    created_s: float
    state: str  # of runway/rooms.py
    avatar: dict[str, Any]  # {"type": "runway-preset", "presetId"} or {"type": "custom", "avatarId", "name"}
    avatar_id: str  # for searching: id of the custom avatar or name of the preset
    max_s: int
    personality: str | None
    start_script: str | None
    tools: list[dict[str, Any]]
    integration: dict[str, Any] | None
    room: str  # name of the media room
    key_hash: str = ""  # of the session key, SHA-256
    session_key: str = ""  # only while it can be used
    expires_s: float | None = None  # of the key
    consumed_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    failure: str = ""
    failure_code: str = ""
    transcript: list[dict[str, Any]] = field(default_factory=list)
    recording: str = ""  # key of a blob
    forgotten: bool = False  # the conversation was deleted


def _time(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Double)


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _json(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


_documents = owned("documents", _METADATA, _time("updated_s"), _text("name"), _text("content"))
_avatars = owned(
    "avatars",
    _METADATA,
    _time("updated_s"),
    *(_text(name) for name in ("name", "personality", "reference", "processing")),
    _text("start_script", nullable=True),
    _json("voice"),
    _json("documents"),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    *(_text(name) for name in ("task", "portrait", "failure")),
)
_voices = owned(
    "voices",
    _METADATA,
    _text("name"),
    _text("description", nullable=True),
    _json("origin"),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    *(_text(name) for name in ("task", "preview", "failure")),
)
_sessions = owned(
    "realtime_sessions",
    _METADATA,
    sa.Column("state", sa.String(16), nullable=False, index=True),
    _json("avatar"),
    _text("avatar_id"),
    sa.Column("max_s", sa.Integer, nullable=False),
    *(_text(name, nullable=True) for name in ("personality", "start_script")),
    _json("tools"),
    _json("integration", nullable=True),
    *(_text(name) for name in ("room", "key_hash", "session_key")),
    *(_time(name) for name in ("expires_s", "consumed_s", "started_s", "ended_s")),
    *(_text(name) for name in ("failure", "failure_code")),
    _json("transcript"),
    _text("recording"),
    sa.Column("forgotten", sa.Boolean, nullable=False),
)

documents = Shelf(_documents, Document)
avatars = Shelf(_avatars, Avatar)
voices = Shelf(_voices, Voice)
sessions = Shelf(_sessions, RealtimeSession)

MIGRATIONS = (Migration("library-1", create(_documents, _avatars, _voices, _sessions)),)


def users(connection: Connection, owner: str) -> dict[str, list[Avatar]]:
    """Which of the owner's avatars, the oldest first, know each document."""
    found: dict[str, list[Avatar]] = {}
    for avatar in avatars.where(connection, _avatars.c.owner == owner):
        for document in avatar.documents:
            found.setdefault(document, []).append(avatar)
    return found


def voice_of(connection: Connection, avatar: Avatar) -> Voice | None:
    """The owner's voice that an avatar speaks with; None for a preset, or where it is gone."""
    try:
        return voices.get(connection, avatar.owner, avatar.voice["id"]) if avatar.voice["type"] == "custom" else None
    except KeyError:
        return None


def unfinished(connection: Connection) -> tuple[list[Avatar], list[Voice]]:
    """Everybody's avatars and voices that are still processed."""
    return (
        avatars.where(connection, _avatars.c.state == "PROCESSING"),
        voices.where(connection, _voices.c.state == "PROCESSING"),
    )


def open_sessions(connection: Connection) -> list[RealtimeSession]:
    """Everybody's sessions that may still change by themselves."""
    return sessions.where(connection, _sessions.c.state.in_(("NOT_READY", "READY", "RUNNING")))


def talks(
    connection: Connection,
    owner: str,
    limit: int,
    after: tuple[float, str] | None = None,
    avatar: str = "",
    from_s: float | None = None,
    until_s: float | None = None,
) -> list[RealtimeSession]:
    """Conversations, the newest first: those with one avatar, begun in [from_s, until_s]."""
    where: list[sa.ColumnElement[bool]] = [_sessions.c.forgotten.is_(False)]
    if avatar:
        where.append(_sessions.c.avatar_id == avatar)
    if from_s is not None:
        where.append(_sessions.c.created_s >= from_s)
    if until_s is not None:
        where.append(_sessions.c.created_s <= until_s)
    return sessions.listed(connection, owner, limit, after, where=where)


def ran_between(connection: Connection, owner: str, from_s: float, until_s: float) -> list[RealtimeSession]:
    """The owner's sessions that media ran in and that began in [from_s, until_s)."""
    return sessions.where(
        connection,
        _sessions.c.owner == owner,
        _sessions.c.started_s.is_not(None),
        _sessions.c.started_s >= from_s,
        _sessions.c.started_s < until_s,
    )
