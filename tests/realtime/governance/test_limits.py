"""Quotas, caps and credits are exact, also in a burst; what the server broke is given back, once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worldstream.realtime.governance import keys, limits
from worldstream.realtime.governance.charged_board import ChargedBoard
from worldstream.realtime.governance.limits import Limits
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.store import governance as store
from worldstream.realtime.store.database import Database
from worldstream.realtime.store.governance import Entry
from worldstream.realtime.tasks import NewTask, Task, TaskEvent

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "w.db")
    database.migrate(store.MIGRATIONS)
    yield database
    database.close()


class Board:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.marks: dict[str, str] = {}
        self.broken = False

    async def create(self, new: NewTask) -> Task:
        if self.broken:
            raise RuntimeError("no disk")
        if new.retry_of in self.marks:
            return self.tasks[self.marks[new.retry_of]]
        if new.retry_of:
            self.marks[new.retry_of] = new.id
        task = Task(new.id, new.kind, new.params, new.owner, new.endpoint, new.model, "PENDING", NOON)
        self.tasks[new.id] = task
        return task

    async def get(self, owner: str, id: str) -> Task:
        return self.tasks[id]

    async def remove(self, owner: str, id: str) -> None:
        del self.tasks[id]

    async def listed(
        self, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        return list(self.tasks.values())[:limit]

    async def watch(self, owner: str, id: str) -> AsyncIterator[TaskEvent]:
        yield TaskEvent(self.tasks[id])


def order(owner: str = "a", credits: int = 10, model: str = "gen4.5", retry_of: str = "") -> NewTask:
    return NewTask(
        "clip", {}, owner=owner, endpoint="/v1/text_to_video", model=model, credits=credits, retry_of=retry_of
    )


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


FREE = Limits()


def charged(database: Database, clock: Clock, known: Limits = FREE, board: Board | None = None) -> ChargedBoard:
    return ChargedBoard(board or Board(), database, known, clock)


async def refused(board: ChargedBoard, new: NewTask) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await board.create(new)
    return caught.value


async def test_nothing_is_limited_until_somebody_says_so(database: Database, clock: Clock) -> None:
    board = charged(database, clock)
    for _ in range(20):
        await board.create(order(credits=1000))
    assert database.now(lambda c: store.spent(c, 0.0)) == 20_000


async def test_a_burst_cannot_pass_a_daily_quota(database: Database, clock: Clock) -> None:
    board = charged(database, clock, Limits(daily_generations={"gen4.5": 7}))
    came = await asyncio.gather(*(board.create(order()) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(one, Task) for one in came) == 7
    errors = [one for one in came if isinstance(one, ApiError)]
    assert {error.status for error in errors} == {429}
    await board.create(order(model="gen4_turbo"))  # another model has its own count
    clock.now += DAY + 1
    await board.create(order())  # rolling: a day later it is free again


async def test_any_other_model_may_have_a_quota(database: Database, clock: Clock) -> None:
    board = charged(database, clock, Limits(daily_generations={"*": 1, "gen4.5": 2}))
    await board.create(order(model="a"))
    assert (await refused(board, order(model="a"))).status == 429
    await board.create(order())
    await board.create(order())
    assert (await refused(board, order())).status == 429


async def test_a_key_has_quotas_of_its_own(database: Database, clock: Clock) -> None:
    _, key = database.now(lambda c: keys.make(c, NOON, "robot", daily_quota=2, monthly_cap=25))
    board = charged(database, clock)
    await board.create(order(key.id, credits=20))
    over = await refused(board, order(key.id, credits=6))
    assert over.status == 429
    assert "monthly cap of 25" in over.error
    await board.create(order(key.id, credits=5))
    assert "daily quota" in (await refused(board, order(key.id, credits=0))).error
    await board.create(order("somebody else", credits=1000))


async def test_a_month_begins_on_its_first_day(database: Database, clock: Clock) -> None:
    board = charged(database, clock, Limits(monthly_cap=100))
    await board.create(order(credits=100))
    assert (await refused(board, order(credits=1))).status == 429
    clock.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    await board.create(order(credits=100))


async def test_credits_run_out_with_a_400_as_in_the_contract(database: Database, clock: Clock) -> None:
    board = charged(database, clock, Limits(credits=True))
    database.now(lambda c: store.book(c, Entry("", "gift", "", "", 25, "grant", NOON)))
    came = await asyncio.gather(*(board.create(order()) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Task) for one in came) == 2
    error = await refused(board, order())
    assert error.status == 400
    assert "5 are left" in error.error
    assert database.now(limits.balance) == 5


@pytest.mark.parametrize(
    ("state", "code", "started", "back"),
    [
        ("FAILED", "INTERNAL", 1.0, True),
        ("FAILED", "ASSET.INVALID", 1.0, True),
        ("FAILED", "SAFETY.INPUT.TEXT", 1.0, False),
        ("CANCELLED", "", None, True),
        ("CANCELLED", "", 1.0, False),
        ("SUCCEEDED", "", 1.0, False),
    ],
)
async def test_what_is_given_back(
    database: Database, clock: Clock, state: str, code: str, started: float | None, back: bool
) -> None:
    board = charged(database, clock)
    task = replace(await board.create(order()), state=state, failure_code=code, started_s=started)
    await board.ended(task)
    await board.ended(task)  # told twice: given back once
    assert database.now(lambda c: store.spent(c, 0.0)) == (0 if back else 10)


async def test_a_second_try_of_one_request_costs_once(database: Database, clock: Clock) -> None:
    board = charged(database, clock)
    first, second = await board.create(order(retry_of="m")), await board.create(order(retry_of="m"))
    assert first.id == second.id
    assert database.now(lambda c: store.spent(c, 0.0)) == 10


async def test_a_task_that_could_not_be_written_costs_nothing(database: Database, clock: Clock) -> None:
    inner = Board()
    inner.broken = True
    with pytest.raises(RuntimeError, match="no disk"):
        await charged(database, clock, board=inner).create(order())
    assert database.now(lambda c: store.spent(c, 0.0)) == 0


async def test_charges_without_a_task_are_found_after_a_crash(database: Database, clock: Clock) -> None:
    inner = Board()
    kept = await charged(database, clock, board=inner).create(order())
    database.now(lambda c: store.book(c, Entry("a", "lost", "gen4.5", "", 10, "charge", NOON)))
    exists = inner.tasks.__contains__
    assert database.now(lambda c: limits.settle(c, lambda _, id: exists(id), NOON)) == ["lost"]
    assert database.now(lambda c: limits.settle(c, lambda _, id: exists(id), NOON)) == []
    assert database.now(lambda c: store.spent(c, 0.0)) == 10
    assert database.now(lambda c: store.charge_of(c, kept.id)) is not None


async def test_the_audit_log_says_who_made_what(database: Database, clock: Clock) -> None:
    board = charged(database, clock)
    made = [(await board.create(order(owner))).id for owner in ("a", "b", "c")]
    first = database.now(lambda c: store.notes(c, 2))
    rest = database.now(lambda c: store.notes(c, 2, before=(first[-1].at_s, first[-1].id)))
    assert {row.resource_id for row in first + rest} == set(made)
    assert database.now(lambda c: store.note_of(c, first[0].id)) == first[0]
    assert database.now(lambda c: store.notes(c, 9, actions=["task.delete"])) == []


def test_the_ledger_on_postgresql(postgres: Database) -> None:
    postgres.migrate(store.MIGRATIONS)
    known = Limits(monthly_cap=15)
    entry = Entry("a", "1", "gen4.5", "/v1/text_to_video", 10, "charge", NOON)
    postgres.now(lambda c: limits.charge(c, known, entry))
    with pytest.raises(ApiError):
        postgres.now(lambda c: limits.charge(c, known, replace(entry, task="2")))
    assert postgres.now(lambda c: limits.refund(c, "1", NOON))
    assert not postgres.now(lambda c: limits.refund(c, "1", NOON))
    assert postgres.now(lambda c: store.generations(c, 0.0)) == 0
    assert [row.type for row in postgres.now(lambda c: store.entries(c, 0.0, NOON + 1))] == ["charge", "refund"]
