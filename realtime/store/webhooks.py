"""Messages that wait to be delivered: each stays in the database until somebody took it, or nobody will."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ..tasks import Task
from .database import Migration, create

WEBHOOKS = sa.Table(
    "webhooks",
    sa.MetaData(),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),  # JSON of the task as it ended
    sa.Column("created_s", sa.Double, nullable=False),
    sa.Column("due_s", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Index("webhooks_due", "due_s"),
)
MIGRATIONS = [Migration("webhooks-1", create(WEBHOOKS))]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message that is due."""

    id: str  # msg_…; the same at every try
    url: str
    task: Task
    attempt: int  # from 1


def add_webhook(c: Connection, url: str, task: Task, now_s: float) -> None:
    """In the transaction that ends the task, so that neither is without the other."""
    message = f"msg_{uuid.uuid4().hex}"
    row = {"id": message, "url": url, "task": json.dumps(asdict(task)), "created_s": now_s, "due_s": now_s}
    c.execute(WEBHOOKS.insert().values(**row, attempts=0))


def take_webhook(c: Connection, now_s: float, hold_s: float) -> Waiting | None:
    """The next message that is due. It is due again after `hold_s` unless `settle` is heard: a server may die."""
    due = sa.select(WEBHOOKS).where(WEBHOOKS.c.due_s <= now_s).order_by(WEBHOOKS.c.due_s).limit(1)
    row = c.execute(due.with_for_update(skip_locked=True)).mappings().first()
    if row is None:
        return None
    held = WEBHOOKS.update().where(WEBHOOKS.c.id == row["id"])
    c.execute(held.values(due_s=now_s + hold_s, attempts=WEBHOOKS.c.attempts + 1))
    return Waiting(row["id"], row["url"], _task(json.loads(row["task"])), row["attempts"] + 1)


def settle_webhook(c: Connection, id: str, due_s: float | None) -> None:
    """Delivered or given up (None), or due again."""
    if due_s is None:
        c.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == id))
    else:
        c.execute(WEBHOOKS.update().where(WEBHOOKS.c.id == id).values(due_s=due_s))


def next_webhook(c: Connection) -> float | None:
    """When the next one is due."""
    return c.execute(sa.select(sa.func.min(WEBHOOKS.c.due_s))).scalar()


def _task(found: Mapping[str, Any]) -> Task:
    return Task(**{**found, "outputs": tuple(found["outputs"])})
