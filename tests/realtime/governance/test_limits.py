"""Quotas, caps and credits are exact, also in a burst; what the server broke is given back, once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worldstream.realtime.governance import keys, limits
from worldstream.realtime.governance.limits import Ledger, Limits
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.store import governance as store
from worldstream.realtime.store import tasks as task_store
from worldstream.realtime.store import webhooks as webhook_store
from worldstream.realtime.store.database import Database
from worldstream.realtime.store.governance import Entry
from worldstream.realtime.store.tasks import TaskRows
from worldstream.realtime.tasks import NewTask, Task

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0
FREE = Limits()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "w.db")
    database.migrate([*task_store.MIGRATIONS, *webhook_store.MIGRATIONS, *store.MIGRATIONS])
    yield database
    database.close()


class Board:
    """Tasks in the database, as the queue keeps them."""

    def __init__(self, database: Database, known: Limits = FREE) -> None:
        ledger = Ledger(known)
        self.database, self.now = database, NOON
        self.rows = TaskRows(True, on_create=(ledger.created,), on_final=(ledger.ended,))

    async def create(self, new: NewTask) -> Task:
        return await self.database.write(lambda c: self.rows.create(c, new, "heavy", self.now, 600.0))

    def end(self, task: Task, state: str, code: str = "") -> None:
        ending = {"state": state, "failure_code": code}

        def run() -> None:
            claim = self.database.now(lambda c: self.rows.claim(c, "s", "heavy", self.now, 60.0))
            assert claim is not None
            assert claim.task.id == task.id
            self.database.now(lambda c: self.rows.finish(c, "s", claim, ending, self.now))

        run()

    @property
    def spent(self) -> int:
        return self.database.now(lambda c: store.spent(c, 0.0))


def order(
    owner: str = "a", credits: int = 10, model: str = "gen4.5", retry_of: str = "", again: bool = False
) -> NewTask:
    return NewTask(
        "clip",
        {},
        owner=owner,
        endpoint="/v1/text_to_video",
        model=model,
        credits=credits,
        retry_of=retry_of,
        again=again,
    )


async def refused(board: Board, new: NewTask) -> ApiError:
    before = board.database.now(lambda c: len(board.rows.listed(c, new.owner, 100)))
    with pytest.raises(ApiError) as caught:
        await board.create(new)
    assert board.database.now(lambda c: len(board.rows.listed(c, new.owner, 100))) == before
    return caught.value


async def test_nothing_is_limited_until_somebody_says_so(database: Database) -> None:
    board = Board(database)
    for _ in range(20):
        await board.create(order(credits=1000))
    assert board.spent == 20_000


async def test_a_burst_cannot_pass_a_daily_quota(database: Database) -> None:
    board = Board(database, Limits(daily_generations={"gen4.5": 7}))
    came = await asyncio.gather(*(board.create(order()) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(one, Task) for one in came) == 7
    assert {error.status for error in came if isinstance(error, ApiError)} == {429}
    await board.create(order(model="gen4_turbo"))  # another model has its own count
    board.now += DAY + 1
    await board.create(order())  # rolling: a day later it is free again


async def test_any_other_model_may_have_a_quota(database: Database) -> None:
    board = Board(database, Limits(daily_generations={"*": 1, "gen4.5": 2}))
    await board.create(order(model="a"))
    assert (await refused(board, order(model="a"))).status == 429
    await board.create(order())
    await board.create(order())
    assert (await refused(board, order())).status == 429


async def test_a_key_has_quotas_of_its_own(database: Database) -> None:
    _, key = database.now(lambda c: keys.make(c, NOON, "robot", daily_quota=2, monthly_cap=25))
    board = Board(database)
    await board.create(order(key.id, credits=20))
    over = await refused(board, order(key.id, credits=6))
    assert over.status == 429
    assert "monthly cap of 25" in over.error
    await board.create(order(key.id, credits=5))
    assert "daily quota" in (await refused(board, order(key.id, credits=0))).error
    await board.create(order("somebody else", credits=1000))


async def test_a_month_begins_on_its_first_day(database: Database) -> None:
    board = Board(database, Limits(monthly_cap=100))
    await board.create(order(credits=100))
    assert (await refused(board, order(credits=1))).status == 429
    board.now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    await board.create(order(credits=100))


async def test_credits_run_out_with_a_400_as_in_the_contract(database: Database) -> None:
    board = Board(database, Limits(credits=True))
    database.now(lambda c: store.book(c, Entry("", "gift", "", "", 25, "grant", NOON)))
    came = await asyncio.gather(*(board.create(order()) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Task) for one in came) == 2
    error = await refused(board, order())
    assert error.status == 400
    assert "5 are left" in error.error
    assert database.now(limits.balance) == 5


@pytest.mark.parametrize(
    ("state", "code", "back"),
    [
        ("FAILED", "INTERNAL", True),
        ("FAILED", "ASSET.INVALID", True),
        ("FAILED", "SAFETY.INPUT.TEXT", False),
        ("CANCELLED", "", False),
        ("SUCCEEDED", "", False),
    ],
)
async def test_what_is_given_back(database: Database, state: str, code: str, back: bool) -> None:
    board = Board(database)
    board.end(await board.create(order()), state, code)
    assert board.spent == (0 if back else 10)


async def test_a_task_that_never_began_costs_nothing(database: Database) -> None:
    board = Board(database)
    task = await board.create(order())
    await database.write(lambda c: board.rows.remove(c, "a", task.id, NOON))
    assert board.spent == 0


async def test_deleting_what_was_made_gives_nothing_back(database: Database) -> None:
    board = Board(database)
    task = await board.create(order())
    board.end(task, "SUCCEEDED")
    await database.write(lambda c: board.rows.remove(c, "a", task.id, NOON))
    assert board.spent == 10


async def test_a_second_try_of_one_request_costs_once(database: Database) -> None:
    board = Board(database)
    first, second = await board.create(order(retry_of="m")), await board.create(order(retry_of="m", again=True))
    assert first.id == second.id
    assert board.spent == 10


async def test_the_audit_log_says_who_made_what(database: Database) -> None:
    board = Board(database)
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
