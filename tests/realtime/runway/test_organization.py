"""The organization: figures out of the ledger of tasks and out of the books, days, and the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.realtime.runway.library_doubles import OWNER, House, house
from worldstream.realtime.governance.limits import Limits
from worldstream.realtime.runway.ledgers import Books
from worldstream.realtime.runway.organization import UNLIMITED
from worldstream.realtime.store import governance
from worldstream.realtime.store.governance import AuditRow, Entry

IDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(6)]


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


async def test_without_books_the_tasks_are_counted(home: House) -> None:
    client = home.client()
    found = (await client.get("/organization")).json()
    assert found["creditBalance"] == found["tier"]["maxMonthlyCreditSpend"] == UNLIMITED
    assert found["tier"]["models"]["gen4.5"] == {"maxConcurrentGenerations": 2, "maxDailyGenerations": UNLIMITED}
    assert found["usage"]["models"]["gen4.5"] == {"dailyGenerations": 0}
    home.board.quick = True
    await client.post("/routers", json={"slug": "r"})
    for prompt in ("A boat.", "It fails."):
        await client.post("/generate/video", json={"configId": "r", "input": {"promptText": prompt}})
    first, second = home.board.tasks
    home.board.now(first, "SUCCEEDED", created_s=home.time[0] - 86_400 + 60)
    home.board.now(second, "FAILED", created_s=home.time[0] - 60)
    usage = (await client.get("/organization")).json()["usage"]["models"]
    assert usage["gen4.5"] == {"dailyGenerations": 1}  # what failed by our fault is not counted
    used = (
        await client.post("/organization/usage", json={"startDate": "2025-11-19", "beforeDate": "2025-11-22"})
    ).json()
    assert used["results"] == [
        {"date": "2025-11-19", "usedCredits": []},
        {"date": "2025-11-20", "usedCredits": [{"model": "gen4.5", "amount": 60}]},
        {"date": "2025-11-21", "usedCredits": []},
    ]
    assert (used["models"], used["apiKeys"]) == (["gen4.5"], [OWNER])
    assert used["resultsByApiKey"][1] == {"date": "2025-11-20", "usedCredits": [{"apiKeyId": OWNER, "amount": 60}]}
    assert (await home.client("key_two").post("/organization/usage")).json()["models"] == []
    assert (await client.get("/organization/webapp/audit_logs", params={"limit": 5})).json()["data"] == []


def keep_books(home: House) -> None:
    noon = home.time[0]
    entries = [
        Entry(OWNER, IDS[0], "gen4.5", "/v1/text_to_video", 60, "charge", noon - 3 * 86_400),
        Entry(OWNER, IDS[1], "aleph2", "/v1/video_to_video", 90, "charge", noon - 100),
        Entry("two", IDS[2], "gen4.5", "/v1/text_to_video", 24, "charge", noon - 90),
        Entry("two", IDS[2], "gen4.5", "/v1/text_to_video", -24, "refund", noon - 80),
        Entry("", IDS[3], "", "", 500, "grant", noon - 9 * 86_400),
    ]
    rows = [
        AuditRow(IDS[0], noon - 50, OWNER, "studio", "document.create", "document", IDS[5], "10.0.0.1", "curl"),
        AuditRow(IDS[1], noon - 40, OWNER, "studio", "task.create", "task", IDS[4]),
        AuditRow(IDS[2], noon - 30, OWNER, "studio", "router.update", "router", IDS[4]),
    ]

    def work(connection: Any) -> None:
        for entry in entries:
            governance.book(connection, entry)
        for row in rows:
            governance.note(connection, row)

    home.services.database.now(work)
    limits = Limits(credits=True, monthly_cap=1000, daily_generations={"gen4.5": 50})
    home.inner.state.ledger = Books(home.services, limits)


async def test_with_books(home: House) -> None:
    keep_books(home)
    client = home.client()
    found = (await client.get("/organization")).json()
    assert (found["creditBalance"], found["tier"]["maxMonthlyCreditSpend"]) == (350, 1000)
    assert found["tier"]["models"]["gen4.5"] == {"maxConcurrentGenerations": 2, "maxDailyGenerations": 50}
    assert found["usage"]["models"]["aleph2"] == {"dailyGenerations": 1}
    assert found["usage"]["models"]["gen4.5"] == {"dailyGenerations": 0}  # one was given back, one is older
    used = (await client.post("/organization/usage", json={})).json()
    assert len(used["results"]) == 30
    assert used["models"] == ["gen4.5"]  # thirty days before today: today itself is not in it
    today = (await client.post("/organization/usage", json={"startDate": "2025-11-21"})).json()
    assert today["results"][0]["usedCredits"] == [{"model": "aleph2", "amount": 90}]

    window = {"from": "2025-11-21", "to": "2025-11-21"}
    one = (await client.get("/organization/webapp/usage", params={**window, "limit": 2})).json()
    assert [(row["type"], row["credits"], row["tool"]) for row in one["data"]] == [
        ("refund", -24, "gen4.5"),
        ("charge", 24, "gen4.5"),
    ]
    rest = await client.get("/organization/webapp/usage", params={**window, "limit": 2, "cursor": one["nextCursor"]})
    assert [row["credits"] for row in rest.json()["data"]] == [90]
    assert rest.json()["nextCursor"] is None
    elsewhere = await client.get("/organization/webapp/usage", params={**window, "workspaceIds": "7,8"})
    assert elsewhere.json()["data"] == []


async def test_the_audit_log(home: House) -> None:
    keep_books(home)
    client = home.client()

    async def found(**query: str) -> list[str]:
        answer = await client.get("/organization/webapp/audit_logs", params={"limit": "50", **query})
        return [row["action"] for row in answer.json()["data"]]

    assert await found() == ["OrganizationSettingsUpdated", "GenerationCreated", "AssetCreated"]
    assert await found(actions="AssetCreated,UserLogin") == ["AssetCreated"]
    assert await found(actions="UserLogin") == []
    assert await found(actorEmails="a@b.example") == []
    assert await found(to="2025-11-21T11:59:15Z") == ["AssetCreated"]
    one = (await client.get(f"/organization/webapp/audit_logs/{IDS[0]}")).json()
    assert (one["eventId"], one["resourceType"], one["resourceId"]) == (IDS[0], "document", IDS[5])
    assert (one["clientIpAddress"], one["userAgent"], one["actorUsername"]) == ("10.0.0.1", "curl", "studio")
    assert one["metadata"] == {"Operation": "document.create"}
    assert (await client.get(f"/organization/webapp/audit_logs/{IDS[5]}")).status_code == 404


async def test_bad_ranges(home: House) -> None:
    client = home.client()
    for body, path in (
        ({"startDate": "2025-01-01", "beforeDate": "2025-04-02"}, ["beforeDate"]),
        ({"startDate": "2025-01-02", "beforeDate": "2025-01-01"}, ["beforeDate"]),
        ({"startDate": "soon"}, ["startDate"]),
    ):
        answer = await client.post("/organization/usage", json=body)
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path)
    missing = await client.get("/organization/webapp/usage", params={"limit": 5, "from": "2025-01-01"})
    assert (missing.status_code, missing.json()["issues"][0]["path"]) == (400, ["to"])
