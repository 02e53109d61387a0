"""Model routers, and the log of what each decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from .database import Migration, create
from .shelf import Shelf, owned

_METADATA = sa.MetaData()


@dataclass(frozen=True, slots=True)
class Router:
    """Preferences by which a model is chosen; `slug` is unique among an owner's."""

    id: str  # UUID 4
    owner: str
    created_s: float  # Unix time
    updated_s: float
    slug: str
    name: str
    description: str | None
    settings: dict[str, Any]  # as the contract has them
    version: int = 1


@dataclass(frozen=True, slots=True)
class RouterRequest:
    """One decision. `decision` holds the members of the contract's log beside id and time."""

    id: str
    owner: str
    created_s: float
    router: str  # id
    decision: dict[str, Any]


_routers = owned(
    "routers",
    _METADATA,
    sa.Column("updated_s", sa.Double, nullable=False),
    sa.Column("slug", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
sa.Index("router_of_slug", _routers.c.owner, _routers.c.slug, unique=True)
_requests = owned(
    "router_requests",
    _METADATA,
    sa.Column("router", sa.String(36), nullable=False),
    sa.Column("decision", sa.JSON, nullable=False),
)
sa.Index("router_requests_of", _requests.c.router, _requests.c.created_s)
routers = Shelf(_routers, Router)
_log = Shelf(_requests, RouterRequest)

MIGRATIONS = (Migration("routers-1", create(_routers, _requests)),)


class Taken(Exception):
    """Another router of the owner has this slug."""


def put(connection: Connection, router: Router) -> None:
    """Raises Taken."""
    try:
        routers.put(connection, router)
    except IntegrityError:
        raise Taken(router.slug) from None


def by_slug(connection: Connection, owner: str, slug: str) -> Router:
    """Raises KeyError."""
    found = routers.where(connection, _routers.c.owner == owner, _routers.c.slug == slug)
    if not found:
        raise KeyError(slug)
    return found[0]


def change(
    connection: Connection, owner: str, id: str, now: float, settings: dict[str, Any] | None, **values: Any
) -> Router:
    """The next version of a router: `settings` are merged into what it has, as `merged` says. Raises KeyError."""
    before = routers.get(connection, owner, id, hold=True)
    after = replace(before, **values, updated_s=now, version=before.version + 1)
    if settings is not None:
        after = replace(after, settings=merged(before.settings, settings))
    return routers.replace(connection, after)


def merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Objects member by member; null removes one."""
    after = dict(before)
    for name, value in change.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            inner = merged(before.get(name, {}), value)
            after.pop(name, None)
            if inner:
                after[name] = inner
        else:
            after[name] = value
    return after


def remove(connection: Connection, owner: str, id: str) -> None:
    """With its log. Raises KeyError."""
    routers.remove(connection, owner, id)
    connection.execute(_requests.delete().where(_requests.c.router == id))


def log(connection: Connection, request: RouterRequest) -> None:
    _log.put(connection, request)


def requests(
    connection: Connection, owner: str, router: str, limit: int, after: tuple[float, str] | None = None
) -> list[RouterRequest]:
    """The newest first."""
    return _log.listed(connection, owner, limit, after, where=[_requests.c.router == router])
