"""Tables of keys, of the credits ledger and of the audit log, and every statement about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from .database import Migration, create

_tables = sa.MetaData()
_keys = sa.Table(
    "api_keys",
    _tables,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),  # SHA-256 of the secret
    sa.Column("hint", sa.String(16), nullable=False),  # how the secret begins, for people
    sa.Column("scopes", sa.String(255), nullable=False),  # separated by spaces
    sa.Column("daily_quota", sa.Integer),  # generations in 24 hours; NULL: any number
    sa.Column("monthly_cap", sa.BigInteger),  # credits in a calendar month, UTC
    sa.Column("created_s", sa.Float, nullable=False),
    sa.Column("used_s", sa.Float),
    sa.Column("revoked_s", sa.Float),
)
_ledger = sa.Table(
    "ledger",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(36), nullable=False),
    sa.Column("task", sa.String(36), nullable=False),
    sa.Column("model", sa.String(100), nullable=False),  # as the client named it
    sa.Column("tool", sa.String(100), nullable=False),  # the endpoint
    sa.Column("credits", sa.BigInteger, nullable=False),  # of a refund: negative
    sa.Column("type", sa.String(10), nullable=False),  # grant, charge or refund
    sa.Column("at_s", sa.Float, nullable=False),
    sa.UniqueConstraint("task", "type"),  # nothing is charged or given back twice
    sa.Index("ledger_by_key", "key", "at_s"),
)
_audit = sa.Table(
    "audit",
    _tables,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("at_s", sa.Float, nullable=False),
    sa.Column("key", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),  # of the key then
    sa.Column("action", sa.String(100), nullable=False),
    sa.Column("resource", sa.String(100), nullable=False),
    sa.Column("resource_id", sa.String(100), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(300), nullable=False),
    sa.Index("audit_by_time", "at_s", "id"),
)
MIGRATIONS = (Migration("governance-1", create(_keys, _ledger, _audit)),)

COUNTED = ("charge", "refund")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is kept; its secret is not."""

    id: str
    name: str
    hash: str
    hint: str
    scopes: str
    created_s: float
    daily_quota: int | None = None
    monthly_cap: int | None = None
    used_s: float | None = None
    revoked_s: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    key: str
    task: str
    model: str
    tool: str
    credits: int
    type: str
    at_s: float


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the audit log."""

    id: str
    at_s: float
    key: str
    name: str
    action: str
    resource: str
    resource_id: str
    address: str = ""
    agent: str = ""


def add_key(connection: Connection, row: KeyRow) -> None:
    connection.execute(_keys.insert().values(**_dict(row)))


def key_count(connection: Connection) -> int:
    """Of keys that may still be used."""
    found = connection.execute(sa.select(sa.func.count()).select_from(_keys).where(_keys.c.revoked_s.is_(None)))
    return int(found.scalar_one())


def was_keyed(connection: Connection) -> bool:
    """Whether a key was ever made, revoked ones too."""
    return connection.execute(sa.select(_keys.c.id).limit(1)).first() is not None


def find_key(connection: Connection, hash: str) -> KeyRow | None:
    row = connection.execute(sa.select(_keys).where(_keys.c.hash == hash)).mappings().one_or_none()
    return None if row is None else KeyRow(**row)


def key_of(connection: Connection, id: str) -> KeyRow | None:
    row = connection.execute(sa.select(_keys).where(_keys.c.id == id)).mappings().one_or_none()
    return None if row is None else KeyRow(**row)


def keys(connection: Connection) -> list[KeyRow]:
    return [KeyRow(**row) for row in connection.execute(sa.select(_keys).order_by(_keys.c.created_s)).mappings()]


def revoke(connection: Connection, id: str, at_s: float) -> bool:
    """Whether there was such a key."""
    where = (_keys.c.id == id) & _keys.c.revoked_s.is_(None)
    return connection.execute(_keys.update().where(where).values(revoked_s=at_s)).rowcount == 1


def used(connection: Connection, id: str, at_s: float) -> None:
    connection.execute(_keys.update().where(_keys.c.id == id).values(used_s=at_s))


def lock(connection: Connection, key: str) -> None:
    """Hold others' charges of this key until the transaction ends. SQLite has one writer anyhow."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": "ledger " + key})


def book(connection: Connection, entry: Entry) -> bool:
    """Add a line; False where this task has one of the type already."""
    known = sa.select(_ledger.c.id).where((_ledger.c.task == entry.task) & (_ledger.c.type == entry.type))
    if connection.execute(known).first() is not None:
        return False
    connection.execute(_ledger.insert().values(**_dict(entry)))
    return True


def charge_of(connection: Connection, task: str) -> Entry | None:
    """What a task was charged."""
    row = connection.execute(_entries().where((_ledger.c.task == task) & (_ledger.c.type == "charge"))).mappings()
    found = row.one_or_none()
    return None if found is None else Entry(**found)


def generations(connection: Connection, since_s: float, key: str = "", model: str = "") -> int:
    """Charges since a moment, less those given back; of one key or model where named."""
    sign = sa.case((_ledger.c.type == "charge", 1), else_=-1)
    where = (_ledger.c.at_s >= since_s) & _ledger.c.type.in_(COUNTED)
    if key:
        where &= _ledger.c.key == key
    if model:
        where &= _ledger.c.model == model
    return max(0, int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(sign), 0)).where(where)).scalar_one()))


def spent(connection: Connection, since_s: float, key: str = "") -> int:
    """Credits charged since a moment, less those given back."""
    where = (_ledger.c.at_s >= since_s) & _ledger.c.type.in_(COUNTED)
    if key:
        where &= _ledger.c.key == key
    total = sa.select(sa.func.coalesce(sa.func.sum(_ledger.c.credits), 0)).where(where)
    return int(connection.execute(total).scalar_one())


def granted(connection: Connection) -> int:
    """Credits that the operator put in."""
    total = sa.func.coalesce(sa.func.sum(_ledger.c.credits), 0)
    return int(connection.execute(sa.select(total).where(_ledger.c.type == "grant")).scalar_one())


def entries(connection: Connection, since_s: float, until_s: float, key: str = "", limit: int = 100_000) -> list[Entry]:
    """Charges and refunds of a stretch of time, oldest first."""
    where = (_ledger.c.at_s >= since_s) & (_ledger.c.at_s < until_s) & _ledger.c.type.in_(COUNTED)
    if key:
        where &= _ledger.c.key == key
    found = connection.execute(_entries().where(where).order_by(_ledger.c.id).limit(limit)).mappings()
    return [Entry(**row) for row in found]


def _entries() -> sa.Select[Any]:
    return sa.select(*(_ledger.c[name] for name in Entry.__slots__))


def note(connection: Connection, row: AuditRow) -> None:
    connection.execute(_audit.insert().values(**_dict(row)))


def notes(
    connection: Connection,
    limit: int,
    before: tuple[float, str] | None = None,
    since_s: float | None = None,
    until_s: float | None = None,
    actions: Sequence[str] = (),
) -> list[AuditRow]:
    """The newest first: those before (at_s, id)."""
    query = sa.select(_audit).order_by(_audit.c.at_s.desc(), _audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(_audit.c.at_s, _audit.c.id) < sa.tuple_(*before))
    if since_s is not None:
        query = query.where(_audit.c.at_s >= since_s)
    if until_s is not None:
        query = query.where(_audit.c.at_s < until_s)
    if actions:
        query = query.where(_audit.c.action.in_(actions))
    return [AuditRow(**row) for row in connection.execute(query).mappings()]


def note_of(connection: Connection, id: str) -> AuditRow | None:
    row = connection.execute(sa.select(_audit).where(_audit.c.id == id)).mappings().one_or_none()
    return None if row is None else AuditRow(**row)


def _dict(row: KeyRow | Entry | AuditRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}
