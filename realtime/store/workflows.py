"""Runs of workflows: what was run, with what, and how far each node is. The row holds the graph as it was, so that an
edited file changes nothing that is under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from .database import Migration, create
from .shelf import Shelf, owned

_METADATA = sa.MetaData()


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run. `steps` are workflows.course.Step as JSON, by node."""

    id: str  # UUID 4
    owner: str
    created_s: float  # Unix time
    workflow: str  # id of the version that was run
    name: str
    graph: dict[str, Any]
    values: dict[str, Any]
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = "PENDING"
    progress: float = 0.0
    failure: str = ""
    failure_code: str = ""
    ended_s: float | None = None
    mark: str = ""  # services.retry_mark of the request


_invocations = owned(
    "workflow_invocations",
    _METADATA,
    *(sa.Column(name, sa.Text, nullable=False) for name in ("workflow", "name")),
    *(sa.Column(name, sa.JSON, nullable=False) for name in ("graph", "values", "steps")),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("progress", sa.Double, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("failure", "failure_code")),
    sa.Column("ended_s", sa.Double),
    sa.Column("mark", sa.String(64), nullable=False),
)
invocations = Shelf(_invocations, Invocation)

MIGRATIONS = (Migration("workflows-1", create(_invocations)),)


def marked(connection: Connection, owner: str, mark: str, since_s: float) -> Invocation | None:
    """The newest run that the same request began since a moment."""
    where = [_invocations.c.mark == mark, _invocations.c.created_s >= since_s]
    return next(iter(invocations.listed(connection, owner, 1, where=where)), None)


def open_invocations(connection: Connection) -> list[Invocation]:
    """Everybody's runs that go on, the oldest first."""
    return invocations.where(connection, _invocations.c.state.in_(("PENDING", "THROTTLED", "RUNNING")))
