"""How much may be used: all off by default, and exact where on.

A charge is booked in the same transaction that counts what was used before, so that a burst cannot slip past a limit; a
task that fails by the server's fault, or never began, is given its credits back, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..runway.errors import ApiError
from ..store import governance as store
from ..store.database import Connection
from ..store.governance import Entry
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


def settle(connection: Connection, exists: Callable[[Connection, str], bool], now_s: float) -> list[str]:
    """After a crash: give back what was charged for tasks that were never written. Returns their ids."""
    lost = [entry.task for entry in store.unsettled(connection, now_s) if not exists(connection, entry.task)]
    return [task for task in lost if refund(connection, task, now_s)]
