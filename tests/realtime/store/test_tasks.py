"""The queue in the database, on a virtual clock: who moves up, who gets what, who loses it, and what is forgotten."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from worldstream.realtime.store import tasks as rows_module
from worldstream.realtime.store import webhooks
from worldstream.realtime.store.database import Database
from worldstream.realtime.store.tasks import Claim, Removed, TaskRows
from worldstream.realtime.tasks import NewTask, Task

MIGRATIONS = [*rows_module.MIGRATIONS, *webhooks.MIGRATIONS]


class Line:
    """Rows on one database, with the clock in hand."""

    def __init__(self, database: Database, **settings: Any) -> None:
        database.migrate(MIGRATIONS)
        self.database, self.rows, self.now_s = database, TaskRows(database.lite, **settings), 1000.0

    def create(self, owner: str = "me", model: str = "gen4.5", lane: str = "heavy", **more: Any) -> Task:
        self.now_s += 1.0
        new = replace(NewTask("clip", {"prompt": "A Sea"}, owner=owner, model=model), **more)
        return self.database.now(lambda c: self.rows.create(c, new, lane, self.now_s, 600.0))

    def claim(self, server: str = "a", lane: str = "heavy") -> Claim | None:
        return self.database.now(lambda c: self.rows.claim(c, server, lane, self.now_s, 15.0))

    def got(self, server: str = "a") -> Claim:
        claim = self.claim(server)
        assert claim is not None
        return claim

    def finish(self, claim: Claim, server: str = "a", **more: Any) -> Task | None:
        ending = {"state": "SUCCEEDED", "outputs": ["outputs/x"], "facts": {"ran": "nano"}, "progress": 1.0} | more
        return self.database.now(lambda c: self.rows.finish(c, server, claim, ending, self.now_s))

    def state(self, task: Task) -> str:
        return self.database.now(lambda c: self.rows.get(c, task.owner, task.id)).state

    def states(self, *tasks: Task) -> list[str]:
        return [self.state(task) for task in tasks]


@pytest.fixture
def line(database: Database) -> Line:
    return Line(database)


def test_a_task_goes_its_way(line: Line) -> None:
    task = line.create(inputs={"first": "inputs/1"}, credits=5, endpoint="/v1/text_to_video", parent="p")
    assert (task.state, task.credits, task.parent, task.params) == ("PENDING", 5, "p", {"prompt": "A Sea"})
    line.now_s += 2.0
    claim = line.got()
    assert (claim.task.state, claim.inputs, claim.attempt) == ("RUNNING", {"first": "inputs/1"}, 1)
    assert line.claim() is None

    def progress(fraction: float) -> bool:
        return line.database.now(lambda c: line.rows.progress(c, "a", claim, fraction))

    assert progress(0.5)
    assert progress(0.25)  # still ours, though it does not fall
    assert line.database.now(lambda c: line.rows.get(c, "me", task.id)).progress == 0.5
    line.now_s += 3.0
    done = line.finish(claim)
    assert done is not None
    assert (done.state, done.outputs, done.facts, done.progress) == ("SUCCEEDED", ("outputs/x",), {"ran": "nano"}, 1.0)
    assert (done.created_s, done.started_s, done.ended_s) == (1001.0, 1003.0, 1006.0)
    assert line.finish(claim) is None  # there is one end
    assert not progress(0.9)


def test_every_task_is_its_owners_alone(line: Line) -> None:
    task = line.create()
    for work in (lambda c: line.rows.get(c, "other", task.id), lambda c: line.rows.remove(c, "other", task.id, 0.0)):
        with pytest.raises(KeyError):
            line.database.now(work)
    assert line.database.now(lambda c: line.rows.listed(c, "other", 10)) == []
    assert line.state(task) == "PENDING"


def test_a_model_has_two_places_and_the_rest_is_throttled(line: Line) -> None:
    tasks = [line.create() for _ in range(4)]
    other = line.create(model="aleph2")
    assert line.states(*tasks, other) == ["PENDING", "PENDING", "THROTTLED", "THROTTLED", "PENDING"]
    first = line.got()
    assert first.task.id == tasks[0].id
    assert line.states(*tasks) == ["RUNNING", "PENDING", "THROTTLED", "THROTTLED"]
    line.finish(first)
    assert line.states(*tasks) == ["SUCCEEDED", "PENDING", "PENDING", "THROTTLED"]
    line.database.now(lambda c: line.rows.remove(c, "me", tasks[1].id, line.now_s))
    assert line.states(*tasks[2:]) == ["PENDING", "PENDING"]


def test_places_are_the_operators(database: Database) -> None:
    line = Line(database, usual_places=1, places={"gen4.5": 3})
    assert [line.create().state for _ in range(4)] == ["PENDING"] * 3 + ["THROTTLED"]
    assert [line.create(model="").state for _ in range(2)] == ["PENDING", "THROTTLED"]  # then by kind


@pytest.mark.parametrize("places", [1, 2])
def test_nobody_waits_behind_anothers_thousand(database: Database, places: int) -> None:
    line = Line(database, usual_places=places)
    for _ in range(10):
        line.create("greedy")
    small = [line.create("small") for _ in range(3)]
    order = []
    while (claim := line.claim()) is not None:
        order.append(claim.task.owner)
        line.now_s += 1.0
        line.finish(claim)
    assert len(order) == 13
    assert [i for i, owner in enumerate(order) if owner == "small"][-1] <= places + 2 * len(small)
    assert line.states(*small) == ["SUCCEEDED"] * 3


def test_lanes_do_not_wait_for_each_other(line: Line) -> None:
    line.create()
    light = line.create(model="sound", lane="light")
    claim = line.claim(lane="light")
    assert claim is not None
    assert claim.task.id == light.id


def test_an_attempt_that_is_put_off_waits_its_time(line: Line) -> None:
    task = line.create()
    claim = line.got()
    back = line.database.now(lambda c: line.rows.postpone(c, "a", claim, line.now_s + 8.0))
    assert back is not None
    assert back.state == "PENDING"
    assert line.claim() is None
    assert line.database.now(lambda c: line.rows.soonest(c, "heavy")) == line.now_s + 8.0
    line.now_s += 8.0
    again = line.got()
    assert (again.task.id, again.attempt) == (task.id, 2)
    assert line.finish(claim) is None  # the first attempt has lost it
    assert line.finish(again) is not None


def test_a_dead_servers_tasks_go_back_and_fail_at_last(line: Line) -> None:
    task = line.create(webhook="https://example.org/hook")

    def reclaim() -> list[Task]:
        return line.database.now(lambda c: line.rows.reclaim(c, line.now_s, 3))

    for attempt in (1, 2, 3):
        claim = line.got()
        assert claim.attempt == attempt
        line.now_s += 10.0
        assert line.database.now(lambda c: line.rows.renew(c, "a", line.now_s, 15.0)) == {task.id}
        line.now_s += 14.9
        assert reclaim() == []  # it lives
        line.now_s += 0.2
        assert [t.id for t in reclaim()] == [task.id]
        assert line.database.now(lambda c: line.rows.renew(c, "a", line.now_s, 15.0)) == set()
        assert line.finish(claim) is None
    failed = line.database.now(lambda c: line.rows.get(c, "me", task.id))
    assert (failed.state, failed.failure_code) == ("FAILED", "INTERNAL")
    assert "3 times" in failed.failure
    told = line.database.now(lambda c: webhooks.take_webhook(c, line.now_s, 60.0))
    assert told is not None
    assert told.task == failed


def test_a_server_that_comes_back_takes_up_its_own(line: Line) -> None:
    mine, others = line.create(), line.create()
    line.got("a")
    line.got("b")
    assert [t.id for t in line.database.now(lambda c: line.rows.reclaim(c, line.now_s, 3, "a"))] == [mine.id]
    assert line.states(mine, others) == ["PENDING", "RUNNING"]
    line.database.now(lambda c: line.rows.hand_back(c, "b", line.now_s))
    assert [line.got().attempt for _ in range(2)] == [2, 1]  # a stop in order is no attempt


def test_the_same_request_again_gives_the_same_task(line: Line) -> None:
    first = line.create(retry_of="h")
    assert line.create(retry_of="h").id != first.id  # a person who wants two
    second = line.create(retry_of="h", again=True)
    assert second.id != first.id  # the newest of them
    assert line.create(retry_of="h", again=True).id == second.id
    assert line.create("other", retry_of="h", again=True).id != second.id
    line.now_s += 700.0
    assert line.create(retry_of="h", again=True).id != second.id
    assert line.database.now(lambda c: line.rows.repeated(c, "me", "nothing", 0.0)) is None


def test_the_list_is_in_pages_and_can_be_searched(line: Line) -> None:
    made = [line.create(params={"prompt": text}) for text in ("A red Sea", "100% sea", "under_score", "\ud800 \0 ä")]
    line.now_s -= 1.0
    twin = line.create(params={"text": "twin"})  # of the same moment as the last
    listed: Callable[..., list[Task]] = lambda *a: line.database.now(lambda c: line.rows.listed(c, "me", *a))  # noqa: E731
    everything = listed(10)
    assert {t.id for t in everything[:2]} == {made[3].id, twin.id}
    assert [t.id for t in everything[2:]] == [t.id for t in reversed(made[:3])]
    paged: list[Task] = []
    while page := listed(2, (paged[-1].created_s, paged[-1].id) if paged else None):
        paged += page
    assert paged == everything
    for words, count in {"sea": 2, "SEA red": 1, "0%": 1, "r_s": 1, "rxs": 0, "Ä": 1, "gen4.5": 5, "clip": 5}.items():
        assert len(listed(10, None, words)) == count, words


def test_removing_leaves_what_others_use(line: Line) -> None:
    shared, own = "inputs/shared", "inputs/own"
    first = line.create(inputs={"a": shared, "b": own, "c": "uploads/1"})
    second = line.create(inputs={"a": shared})
    gone = line.database.now(lambda c: line.rows.remove(c, "me", first.id, line.now_s))
    assert (gone.task.state, gone.inputs) == ("CANCELLED", (own,))
    gone = line.database.now(lambda c: line.rows.remove(c, "me", second.id, line.now_s))
    assert gone.inputs == (shared,)
    assert line.database.now(line.rows.inputs_in_use) == set()


def test_a_running_task_that_is_removed_cannot_end(line: Line) -> None:
    task = line.create(webhook="https://example.org/")
    claim = line.got()
    line.database.now(lambda c: line.rows.remove(c, "me", task.id, line.now_s))
    assert line.finish(claim) is None
    assert not line.database.now(lambda c: line.rows.progress(c, "a", claim, 0.5))
    told = line.database.now(lambda c: webhooks.take_webhook(c, line.now_s, 60.0))
    assert told is not None
    assert told.task.state == "CANCELLED"


def test_old_files_are_forgotten_and_the_task_says_so(line: Line) -> None:
    old = line.create(inputs={"a": "inputs/1"})
    line.finish(line.got())
    line.now_s += 100.0
    young = line.create()
    line.finish(line.got())

    def expire() -> list[Removed]:
        return line.database.now(lambda c: line.rows.expire(c, line.now_s - 50.0))

    assert [(gone.task.id, gone.task.outputs, gone.inputs) for gone in expire()] == [
        (old.id, ("outputs/x",), ("inputs/1",))
    ]
    assert expire() == []
    after = line.database.now(lambda c: line.rows.get(c, "me", old.id))
    assert (after.state, after.outputs, after.facts) == ("SUCCEEDED", (), {"ran": "nano", "expired": True})
    assert line.database.now(lambda c: line.rows.get(c, "me", young.id)).outputs == ("outputs/x",)


def test_a_ledger_joins_the_end_of_a_task(database: Database) -> None:
    heard: list[str] = []

    def refuses(c: object, task: Task) -> None:
        heard.append(task.state)
        if len(heard) == 1:
            raise RuntimeError("the ledger is full")

    line = Line(database, on_final=(refuses,))
    task = line.create()
    claim = line.got()
    with pytest.raises(RuntimeError):
        line.finish(claim)
    assert line.state(task) == "RUNNING"  # neither without the other
    assert line.finish(claim) is not None
    assert heard == ["SUCCEEDED", "SUCCEEDED"]


def test_eight_claimers_never_share_a_task(url: str) -> None:
    """Servers of one database, each with connections of its own."""
    databases = [Database(url) for _ in range(2)]
    lines = [Line(database, usual_places=200) for database in databases]
    ids = {lines[0].create().id for _ in range(60)}
    start = threading.Barrier(8)

    def work(number: int) -> list[str]:
        line, server = lines[number % 2], f"s{number}"
        mine: list[str] = []
        start.wait()
        while True:
            claim = line.claim(server)
            if claim is None:
                if line.database.now(lambda c: line.rows.soonest(c, "heavy")) is None:
                    return mine
                continue  # all that were due were in others' hands at that moment
            mine.append(claim.task.id)
            assert line.finish(claim, server) is not None

    with ThreadPoolExecutor(8) as threads:
        taken = Counter(id for mine in threads.map(work, range(8)) for id in mine)
    for database in databases:
        database.close()
    assert taken == Counter(ids)


def test_places_hold_when_many_create_and_end_at_once(url: str) -> None:
    databases = [Database(url) for _ in range(2)]
    lines = [Line(database) for database in databases]
    most = []

    def work(number: int) -> None:
        line = lines[number % 2]
        for _ in range(5):
            line.create(f"owner-{number % 3}")
            claim = line.claim(f"s{number}")
            held = sum(t.state in ("PENDING", "RUNNING") for t in _all(line))
            most.append(held)
            if claim is not None:
                line.finish(claim, f"s{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    while (claim := lines[0].claim("last")) is not None:
        lines[0].finish(claim, "last")
    assert max(most) <= 2
    assert {t.state for t in _all(lines[0])} == {"SUCCEEDED"}
    for database in databases:
        database.close()


def _all(line: Line) -> list[Task]:
    """In one look: counted one by one, a task could move in between."""
    return line.database.now(
        lambda c: [rows_module._task(row) for row in c.execute(rows_module.TASKS.select()).mappings()]
    )
