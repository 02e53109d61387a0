"""Tasks in the database: the queue itself. Every method is one step of work inside a transaction.

A model has a number of places. Whoever holds one is PENDING or RUNNING; the others wait as THROTTLED and move up when
one ends: first the owner who holds the fewest places, then whoever was served longest ago, each owner's in order.
RUNNING tasks are leased to a server that renews the lease; a server that died loses them to the queue.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ..tasks import FINAL, NewTask, Task
from .database import Migration, create
from .webhooks import add_webhook

TASKS = sa.Table(
    "tasks",
    sa.MetaData(),
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("lane", sa.String(10), nullable=False),
    sa.Column("params", sa.Text, nullable=False),  # JSON, as inputs, outputs and facts
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("endpoint", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("pool", sa.String(200), nullable=False),  # whose places it takes: the model's, else the kind's
    sa.Column("words", sa.Text, nullable=False),  # what a search finds, in lower case
    sa.Column("webhook", sa.Text, nullable=False),
    sa.Column("retry_of", sa.String(64), nullable=False),
    sa.Column("parent", sa.String(64), nullable=False),
    sa.Column("credits", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("progress", sa.Double, nullable=False),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("failure", sa.Text, nullable=False),
    sa.Column("failure_code", sa.String(200), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("created_s", sa.Double, nullable=False),
    sa.Column("ready_s", sa.Double),  # when it got its place
    sa.Column("started_s", sa.Double),
    sa.Column("ended_s", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_s", sa.Double, nullable=False),  # not before: the back-off of a retry
    sa.Column("server", sa.String(64), nullable=False),
    sa.Column("lease_s", sa.Double),  # until when the server has it
    sa.Index("tasks_of_owner", "owner", "created_s", "id"),
    sa.Index("tasks_in_line", "state", "lane", "ready_s"),
    sa.Index("tasks_of_pool", "pool", "state", "owner", "created_s"),
    sa.Index("tasks_served", "pool", "owner", "ready_s"),
    sa.Index("tasks_again", "retry_of", "created_s"),
    sa.Index("tasks_ended", "state", "ended_s"),
)
MIGRATIONS = [Migration("tasks-1", create(TASKS))]

# What is asked at every task, put together once.
_INSERT = TASKS.insert()
_GET = sa.select(TASKS).where(TASKS.c.id == sa.bindparam("id"), TASKS.c.owner == sa.bindparam("owner"))
_SOONEST = sa.select(sa.func.min(TASKS.c.due_s)).where(
    TASKS.c.state == "PENDING", TASKS.c.lane == sa.bindparam("in_lane")
)
_NEXT = (
    sa.select(TASKS.c.id)
    .where(TASKS.c.state == "PENDING", TASKS.c.lane == sa.bindparam("in_lane"), TASKS.c.due_s <= sa.bindparam("now_s"))
    .order_by(TASKS.c.ready_s, TASKS.c.created_s, TASKS.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    TASKS.update()
    .where(TASKS.c.id == _NEXT.scalar_subquery())
    .values(
        state="RUNNING",
        server=sa.bindparam("by"),
        lease_s=sa.bindparam("until_s"),
        attempts=TASKS.c.attempts + 1,
        started_s=sa.func.coalesce(TASKS.c.started_s, sa.bindparam("now_s")),
    )
    .returning(TASKS)
)
_HELD_BY, _WAITING = (
    sa.select(TASKS.c.owner, sa.func.count())
    .where(TASKS.c.pool == sa.bindparam("of_pool"), TASKS.c.state.in_(states))
    .group_by(TASKS.c.owner)
    for states in (("PENDING", "RUNNING"), ("THROTTLED",))
)
_LOCK = 7782  # of PostgreSQL's advisory locks: places are counted by one transaction at a time


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this server runs now."""

    task: Task
    inputs: Mapping[str, str]
    attempt: int  # from 1


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removed task leaves to clear away."""

    task: Task
    inputs: tuple[str, ...]  # blobs that only it used


@dataclass(frozen=True, slots=True)
class TaskRows:
    """`places` are per model, `usual_places` for those that it does not name. `on_create` and `on_final` join the
    transactions that begin and end a task: a ledger that must be exact belongs there. What the first raises leaves no
    task behind."""

    lite: bool
    usual_places: int = 2
    places: Mapping[str, int] = field(default_factory=dict)
    on_final: Sequence[Callable[[Connection, Task], None]] = ()
    on_create: Sequence[Callable[[Connection, Task], None]] = ()

    # -- what clients ask for

    def create(self, c: Connection, new: NewTask, lane: str, now_s: float, window_s: float) -> Task:
        """A new task, or the one that the same request made before where the client says that it asks again."""
        pool = new.model or new.kind
        self._alone(c, [pool])
        if new.retry_of and new.again:
            before = self.repeated(c, new.owner, new.retry_of, now_s - window_s)
            if before is not None:
                return before
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "kind": new.kind, "lane": lane, "params": _json(new.params), "inputs": _json(new.inputs),
            "owner": new.owner, "endpoint": new.endpoint, "model": new.model, "pool": pool, "words": _words(new),
            "webhook": new.webhook, "retry_of": new.retry_of, "parent": new.parent, "credits": new.credits,
            "state": "THROTTLED", "progress": 0.0, "outputs": "[]", "failure": "", "failure_code": "", "facts": "{}",
            "created_s": now_s, "ready_s": None, "started_s": None, "ended_s": None,
            "attempts": 0, "due_s": now_s, "server": "", "lease_s": None,
        }  # fmt: skip
        c.execute(_INSERT, row)
        task = _task(row)
        for heard in self.on_create:
            heard(c, task)
        return replace(task, state="PENDING") if task.id in self._move_up(c, pool, now_s) else task

    def repeated(self, c: Connection, owner: str, retry_of: str, since_s: float) -> Task | None:
        """The newest task of the same request."""
        same = (TASKS.c.retry_of == retry_of, TASKS.c.owner == owner, TASKS.c.created_s > since_s)
        return _one(c, sa.select(TASKS).where(*same).order_by(TASKS.c.created_s.desc()))

    def get(self, c: Connection, owner: str, id: str) -> Task:
        """Raises KeyError."""
        row = c.execute(_GET, {"id": id, "owner": owner}).mappings().first()
        if row is None:
            raise KeyError(id)
        return _task(row)

    def listed(
        self, c: Connection, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        """The newest first; `search` holds words that must all be in the prompt, the kind or the model."""
        query = sa.select(TASKS).where(TASKS.c.owner == owner)
        if before is not None:
            query = query.where(sa.tuple_(TASKS.c.created_s, TASKS.c.id) < sa.tuple_(*map(sa.literal, before)))
        for word in _plain(search).split():
            query = query.where(TASKS.c.words.contains(word, autoescape=True))
        query = query.order_by(TASKS.c.created_s.desc(), TASKS.c.id.desc()).limit(limit)
        return [_task(row) for row in c.execute(query).mappings()]

    def remove(self, c: Connection, owner: str, id: str, now_s: float) -> Removed:
        """Raises KeyError. A task that goes on ends as CANCELLED before it is gone."""
        self._alone(c, [_pool_of(c, id)])
        row = c.execute(
            sa.select(TASKS).where(TASKS.c.id == id, TASKS.c.owner == owner).with_for_update()
        ).mappings().first()  # fmt: skip
        if row is None:
            raise KeyError(id)
        task = _task(row)
        if task.state not in FINAL:
            task = self._end(c, [TASKS.c.id == id], {"state": "CANCELLED"}, now_s) or task
        c.execute(TASKS.delete().where(TASKS.c.id == id))
        return Removed(task, tuple(self.unused(c, _own_inputs(row["inputs"]))))

    # -- what servers do

    def claim(self, c: Connection, server: str, lane: str, now_s: float, lease_s: float) -> Claim | None:
        """The next task of a lane, for this server alone; None where nothing is due."""
        given = {"in_lane": lane, "now_s": now_s, "by": server, "until_s": now_s + lease_s}
        row = c.execute(_CLAIM, given).mappings().first()
        return None if row is None else Claim(_task(row), json.loads(row["inputs"]), row["attempts"])

    def progress(self, c: Connection, server: str, claim: Claim, fraction: float) -> bool:
        """False where the task is this server's no more."""
        changed = TASKS.update().where(*_mine(server, claim), TASKS.c.progress <= fraction).values(progress=fraction)
        if c.execute(changed).rowcount:
            return True
        return c.execute(sa.select(TASKS.c.id).where(*_mine(server, claim))).first() is not None

    def finish(self, c: Connection, server: str, claim: Claim, ending: Mapping[str, Any], now_s: float) -> Task | None:
        """End a task with `state` and what belongs to it; None where it is this server's no more: then nothing that
        the attempt made may be kept."""
        self._alone(c, [claim.task.model or claim.task.kind])
        return self._end(c, _mine(server, claim), ending, now_s)

    def postpone(self, c: Connection, server: str, claim: Claim, due_s: float) -> Task | None:
        """Back into the line, keeping its place, for another attempt."""
        changed = TASKS.update().where(*_mine(server, claim)).values(
            state="PENDING", server="", lease_s=None, due_s=due_s
        )  # fmt: skip
        if not c.execute(changed).rowcount:
            return None
        return self.get(c, claim.task.owner, claim.task.id)

    def hand_back(self, c: Connection, server: str, now_s: float) -> None:
        """A server that stops in order returns what it runs; the attempt does not count."""
        mine = (TASKS.c.server == server, TASKS.c.state == "RUNNING")
        back = TASKS.update().where(*mine)
        c.execute(back.values(state="PENDING", server="", lease_s=None, due_s=now_s, attempts=TASKS.c.attempts - 1))

    def renew(self, c: Connection, server: str, now_s: float, lease_s: float) -> set[str]:
        """Keep every task of this server; returns their ids."""
        mine = (TASKS.c.server == server, TASKS.c.state == "RUNNING")
        c.execute(TASKS.update().where(*mine).values(lease_s=now_s + lease_s))
        return set(c.execute(sa.select(TASKS.c.id).where(*mine)).scalars())

    def reclaim(self, c: Connection, now_s: float, attempts: int, server: str = "") -> list[Task]:
        """Tasks whose server died: those of `server`, or those whose lease ran out where it is empty. They go back
        into the line; one that was tried `attempts` times fails."""
        dead = TASKS.c.server == server if server else TASKS.c.lease_s < now_s
        query = sa.select(TASKS.c.id, TASKS.c.pool, TASKS.c.attempts, TASKS.c.owner).where(
            TASKS.c.state == "RUNNING", dead
        )
        pools = sorted({row.pool for row in c.execute(query)})
        self._alone(c, pools)
        found = c.execute(query.with_for_update(skip_locked=True)).all()
        for row in found:
            if row.attempts >= attempts:
                failure = f"The server stopped {row.attempts} times while it worked on this task."
                self._end(
                    c,
                    [TASKS.c.id == row.id],
                    {"state": "FAILED", "failure": failure, "failure_code": "INTERNAL"},
                    now_s,
                )
            else:
                back = TASKS.update().where(TASKS.c.id == row.id)
                c.execute(back.values(state="PENDING", server="", lease_s=None, due_s=now_s))
        return [self.get(c, row.owner, row.id) for row in found]

    def soonest(self, c: Connection, lane: str) -> float | None:
        """When the next task of a lane is due."""
        return c.execute(_SOONEST, {"in_lane": lane}).scalar()

    def keepers(self, c: Connection, ids: Iterable[str]) -> dict[str, tuple[str, frozenset[str], int]]:
        """Of those of `ids` that exist: state, output keys, attempts."""
        found = {}
        some = sorted(set(ids))
        for start in range(0, len(some), 500):  # SQLite bounds the parameters of a statement
            query = sa.select(TASKS).where(TASKS.c.id.in_(some[start : start + 500]))
            for row in c.execute(query).mappings():
                found[row["id"]] = (row["state"], frozenset(json.loads(row["outputs"])), row["attempts"])
        return found

    def unused(self, c: Connection, keys: Iterable[str]) -> list[str]:
        """Those of some blobs that no task takes."""
        found = {}
        for key in sorted(set(keys)):
            uses = sa.select(TASKS.c.id).where(TASKS.c.inputs.contains(key, autoescape=True)).limit(1)
            found[key] = c.execute(uses).first() is not None
        return [key for key, used in found.items() if not used]

    def inputs_in_use(self, c: Connection) -> set[str]:
        """Keys of every blob that a task takes."""
        return {key for text in c.execute(sa.select(TASKS.c.inputs)).scalars() for key in json.loads(text).values()}

    def expire(self, c: Connection, before_s: float, limit: int = 100) -> list[Removed]:
        """Forget the files of some tasks that ended before then; the tasks stay, and say `expired`."""
        old = (TASKS.c.state.in_(FINAL), TASKS.c.ended_s < before_s)
        kept = sa.or_(TASKS.c.outputs != "[]", TASKS.c.inputs != "{}")
        gone = []
        for row in c.execute(sa.select(TASKS).where(*old, kept).order_by(TASKS.c.ended_s).limit(limit)).mappings():
            task = _task(row)
            facts = _json({**task.facts, "expired": True})
            c.execute(TASKS.update().where(TASKS.c.id == task.id).values(outputs="[]", inputs="{}", facts=facts))
            gone.append(Removed(task, tuple(self.unused(c, _own_inputs(row["inputs"])))))
        return gone

    # -- places

    def _alone(self, c: Connection, pools: Sequence[str]) -> None:
        """Count places with nobody else counting: SQLite has one writer anyway."""
        for pool in [] if self.lite else pools:
            c.execute(sa.text("SELECT pg_advisory_xact_lock(:lock, hashtext(:pool))"), {"lock": _LOCK, "pool": pool})

    def _end(self, c: Connection, which: Sequence[Any], ending: Mapping[str, Any], now_s: float) -> Task | None:
        values = dict(ending) | {"ended_s": now_s, "server": "", "lease_s": None}
        for name in ("outputs", "facts"):
            if name in values:
                values[name] = _json(values[name])
        row = c.execute(TASKS.update().where(*which).values(**values).returning(TASKS)).mappings().first()
        if row is None:
            return None
        task = _task(row)
        if row["webhook"]:
            add_webhook(c, row["webhook"], task, now_s)
        for heard in self.on_final:
            heard(c, task)
        self._move_up(c, row["pool"], now_s)
        return task

    def _move_up(self, c: Connection, pool: str, now_s: float) -> set[str]:
        """Give free places to those who wait; the ids of those who get one."""
        in_pool, moved = TASKS.c.pool == pool, set()
        held = {row[0]: row[1] for row in c.execute(_HELD_BY, {"of_pool": pool})}
        free = self.places.get(pool, self.usual_places) - sum(held.values())
        if free <= 0:
            return set()
        waiting = {row[0]: row[1] for row in c.execute(_WAITING, {"of_pool": pool})}
        served: dict[str, float] = {}
        if len(waiting) > 1:
            found = sa.select(TASKS.c.owner, sa.func.max(TASKS.c.ready_s)).group_by(TASKS.c.owner)
            served = {row[0]: row[1] for row in c.execute(found.where(in_pool, TASKS.c.owner.in_(list(waiting))))}
        for _ in range(min(free, sum(waiting.values()))):
            owner = min((o for o, n in waiting.items() if n), key=lambda o: (held.get(o, 0), served.get(o) or 0.0, o))
            first = (
                sa.select(TASKS.c.id)
                .where(in_pool, TASKS.c.state == "THROTTLED", TASKS.c.owner == owner)
                .order_by(TASKS.c.created_s, TASKS.c.id)
                .limit(1)
            )
            changed = TASKS.update().where(TASKS.c.id == first.scalar_subquery()).returning(TASKS.c.id)
            moved.add(str(c.execute(changed.values(state="PENDING", ready_s=now_s)).scalar_one()))
            held[owner], served[owner] = held.get(owner, 0) + 1, now_s
            waiting[owner] -= 1
        return moved


def _mine(server: str, claim: Claim) -> tuple[Any, ...]:
    return (
        TASKS.c.id == claim.task.id,
        TASKS.c.state == "RUNNING",
        TASKS.c.server == server,
        TASKS.c.attempts == claim.attempt,
    )


def _pool_of(c: Connection, id: str) -> str:
    return c.execute(sa.select(TASKS.c.pool).where(TASKS.c.id == id)).scalar() or ""


def _own_inputs(inputs: str) -> list[str]:
    """Keys of a task's inputs that may be its own. An upload is not: its key begins otherwise."""
    return [key for key in json.loads(inputs).values() if key.startswith("inputs/")]


def _one(c: Connection, query: sa.Select[Any]) -> Task | None:
    row = c.execute(query.limit(1)).mappings().first()
    return None if row is None else _task(row)


def _task(row: Mapping[Any, Any]) -> Task:
    return Task(
        id=row["id"], kind=row["kind"], params=json.loads(row["params"]), owner=row["owner"], endpoint=row["endpoint"],
        model=row["model"], state=row["state"], created_s=row["created_s"], progress=row["progress"],
        outputs=tuple(json.loads(row["outputs"])), failure=row["failure"], failure_code=row["failure_code"],
        credits=row["credits"], facts=json.loads(row["facts"]), parent=row["parent"], started_s=row["started_s"],
        ended_s=row["ended_s"],
    )  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value if isinstance(value, list | tuple) else dict(value), separators=(",", ":"))


def _words(new: NewTask) -> str:
    said = [new.params.get(name) for name in ("prompt", "text")]
    return _plain(" ".join([new.kind, new.model, *(text for text in said if isinstance(text, str))]))


def _plain(text: str) -> str:
    """Lower case, and nothing that PostgreSQL would not take."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode().lower()
