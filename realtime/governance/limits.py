"""How much may be used: all off by default, and exact where on.

A charge is booked in the transaction that creates the task and counts what was used before, so that a burst cannot slip
past a limit and a crash cannot charge for nothing. A task that fails by the server's fault, or never began, is given
its credits back in the transaction that ends it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..runway.errors import ApiError
from ..store import governance as store
from ..store.database import Connection
from ..store.governance import AuditRow, Entry
from ..tasks import Task

DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the whole server; a key may have narrower ones of its own."""

    credits: bool = False  # True: what the operator granted is all there is
    monthly_cap: int | None = None  # credits in a calendar month, UTC, of all keys together
    daily_generations: dict[str, int] = field(default_factory=dict)  # of a model, in any 24 hours; "*": of any other


def month_start(now_s: float) -> float:
    """When this month began, UTC."""
    now = datetime.fromtimestamp(now_s, UTC)
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def charge(connection: Connection, limits: Limits, entry: Entry) -> None:
    """Book what a task costs. Raises ApiError: 400 where the credits are short, 429 over a quota or cap."""
    store.lock(connection, "all" if limits.credits or limits.monthly_cap is not None else entry.key)
    _check_quotas(connection, limits, entry)
    if limits.credits:
        left = balance(connection)
        if entry.credits > left:
            raise ApiError(400, f"You do not have enough credits: this takes {entry.credits}, {left} are left.")
    store.book(connection, entry)


def _check_quotas(connection: Connection, limits: Limits, entry: Entry) -> None:
    key = store.key_of(connection, entry.key)
    day, month = entry.at_s - DAY_S, month_start(entry.at_s)
    most = limits.daily_generations.get(entry.model, limits.daily_generations.get("*"))
    if most is not None and store.generations(connection, day, model=entry.model) >= most:
        raise ApiError(429, f"The daily quota of {entry.model} is used up: {most} generations in 24 hours.")
    own = None if key is None else key.daily_quota
    if own is not None and store.generations(connection, day, key=entry.key) >= own:
        raise ApiError(429, f"This key's daily quota is used up: {own} generations in 24 hours.")
    caps: list[tuple[str, int | None, str]] = [("The", limits.monthly_cap, "")]
    if key is not None:
        caps.append(("This key's", key.monthly_cap, entry.key))
    for whose, cap, of in caps:
        if cap is not None and store.spent(connection, month, of) + entry.credits > cap:
            raise ApiError(429, f"{whose} monthly cap of {cap} credits would be passed by these {entry.credits}.")


def balance(connection: Connection) -> int:
    """Granted and not yet spent."""
    return store.granted(connection) - store.spent(connection, 0.0)


def refunded(task: Task) -> bool:
    """Whether a task that ended is given its credits back: the server's fault, or nothing was begun. What safety
    refused is not, as in the contract."""
    if task.state == "CANCELLED":
        return task.started_s is None
    return task.state == "FAILED" and not task.failure_code.startswith("SAFETY")


def refund(connection: Connection, task: str, now_s: float) -> bool:
    """Give a charge back; False where there was none, or it was given back before."""
    charged = store.charge_of(connection, task)
    if charged is None:
        return False
    back = Entry(charged.key, task, charged.model, charged.tool, -charged.credits, "refund", now_s)
    return store.book(connection, back)


class Ledger:
    """Books what tasks cost, in the transactions that create and end them: see `store.tasks.TaskRows`."""

    def __init__(self, known: Limits) -> None:
        self._limits = known

    def created(self, connection: Connection, task: Task) -> None:
        """Raises ApiError where a limit is passed; then there is no task."""
        entry = Entry(
            task.owner, task.id, task.model or task.kind, task.endpoint, task.credits, "charge", task.created_s
        )
        charge(connection, self._limits, entry)
        row = AuditRow(str(uuid.uuid4()), task.created_s, task.owner, "", "task.create", "task", task.id)
        store.note(connection, row)

    def ended(self, connection: Connection, task: Task) -> None:
        """Also of a task that is cancelled by being removed."""
        if refunded(task):
            refund(connection, task.id, task.ended_s or task.created_s)
