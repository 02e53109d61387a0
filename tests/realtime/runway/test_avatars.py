"""Avatars: their life with the task behind them, changes, voices, and use by day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.realtime.runway.library_doubles import OWNER, PICTURE, SOUND, House, house
from worldstream.realtime.store import library
from worldstream.realtime.store.library import RealtimeSession

VOICE = {"type": "runway-live-preset", "presetId": "maya"}
ADA = {"name": "Ada", "referenceImage": PICTURE, "personality": "Curious.", "voice": VOICE}
NOBODY = "3f2a8f2e-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


def kept(home: House) -> list[Path]:
    return [path for path in home.files.rglob("*.*") if "avatars" in path.parts]


def issue(answer: Any) -> tuple[int, list[Any]]:
    return answer.status_code, answer.json()["issues"][0]["path"]


async def test_from_processing_to_ready(home: House) -> None:
    client = home.client()
    made = (await client.post("/avatars", json=ADA)).json()
    assert made["status"] == "PROCESSING"
    assert made["processedImageUri"] is None
    assert made["startScript"] is None
    assert made["createdAt"] == made["updatedAt"] == "2025-11-21T12:00:00.000Z"
    voice = made["voice"]
    assert (voice["type"], voice["presetId"], voice["name"]) == ("runway-live-preset", "maya", "Maya")
    assert "voice" in voice["description"]
    (order,) = home.board.created
    assert (order.kind, order.params["processing"], order.parent) == ("portrait", "optimize", made["id"])

    refused = await client.patch(f"/avatars/{made['id']}", json={"name": "Eve"})
    assert refused.status_code == 409
    await home.upkeep.tick()  # the task goes on, and so does the processing
    assert (await client.get(f"/avatars/{made['id']}")).json()["status"] == "PROCESSING"

    await home.settle()
    ready = (await client.get(f"/avatars/{made['id']}")).json()
    assert ready["status"] == "READY"
    assert f"/v1/outputs/avatars/{made['id']}/" in ready["processedImageUri"]
    assert "signature=" in ready["processedImageUri"]
    assert home.board.tasks == {}  # what it made is the avatar's own now
    assert len(kept(home)) == 2

    assert (await client.delete(f"/avatars/{made['id']}")).status_code == 204
    assert (await client.get(f"/avatars/{made['id']}")).status_code == 404
    assert not kept(home)


async def test_changes(home: House) -> None:
    client = home.client()
    id = (await client.post("/avatars", json={**ADA, "startScript": "Hello."})).json()["id"]
    await home.settle()
    home.time[0] += 1
    changed = (await client.patch(f"/avatars/{id}", json={"name": "Eve", "startScript": None})).json()
    assert (changed["name"], changed["startScript"], changed["status"]) == ("Eve", None, "READY")
    assert changed["personality"] == "Curious."
    assert changed["updatedAt"] > changed["createdAt"]
    first = changed["processedImageUri"].partition("?")[0]

    again = (await client.patch(f"/avatars/{id}", json={"imageProcessing": "none"})).json()
    assert again["status"] == "PROCESSING"
    assert home.board.created[-1].params["processing"] == "none"
    await home.settle()
    now = (await client.get(f"/avatars/{id}")).json()
    assert now["status"] == "READY"
    assert now["processedImageUri"].partition("?")[0] != first
    assert len(kept(home)) == 2  # the old one is gone

    for body, path in (
        ({"personality": ""}, ["personality"]),
        ({"voice": None}, ["voice"]),
        ({"name": None}, ["name"]),
        ({"voice": {"type": "custom", "id": NOBODY}}, ["voice", "id"]),
        ({"voice": {"type": "runway-preset", "presetId": "Maya"}}, ["voice", "type"]),  # that of speech
        ({"documentIds": [NOBODY]}, ["documentIds", 0]),
        ({"referenceImage": PICTURE + "?missing"}, ["referenceImage"]),
    ):
        assert issue(await client.patch(f"/avatars/{id}", json=body)) == (400, path)
    assert (await client.get(f"/avatars/{id}")).json() == now
    assert (await home.client("key_two").patch(f"/avatars/{id}", json={"name": "x"})).status_code == 404
    assert (await home.client("key_two").get("/avatars")).json() == {"data": [], "hasMore": False, "nextCursor": None}


async def test_a_picture_that_cannot_be_read(home: House) -> None:
    client = home.client()
    id = (await client.post("/avatars", json=ADA)).json()["id"]
    (task,) = home.board.tasks
    home.board.now(task, "FAILED", failure="The picture cannot be read: it is damaged.")
    await home.settle()
    failed = (await client.get(f"/avatars/{id}")).json()
    assert (failed["status"], failed["failureReason"]) == ("FAILED", "The picture cannot be read: it is damaged.")
    assert (await client.patch(f"/avatars/{id}", json={"referenceImage": PICTURE})).json()["status"] == "PROCESSING"

    lost = (await client.post("/avatars", json=ADA)).json()["id"]  # its task is deleted by the user
    home.board.tasks.clear()
    await home.settle()
    assert "deleted" in (await client.get(f"/avatars/{lost}")).json()["failureReason"]


async def test_a_blind_second_try_is_the_same_avatar_and_voice(home: House) -> None:
    client, again = home.client(), {"x-stainless-retry-count": "1"}
    voice = {"name": "Deep", "from": {"type": "audio", "audio": SOUND}}
    for path, body in (("/avatars", ADA), ("/voices", voice)):
        first = (await client.post(path, json=body)).json()
        assert (await client.post(path, json=body, headers=again)).json() == first
        assert len((await client.get(path)).json()["data"]) == 1
    await home.settle()
    assert (await client.get("/avatars")).json()["data"][0]["status"] == "READY"


async def test_a_voice_of_ones_own_and_its_end(home: House) -> None:
    client = home.client()
    given = {"name": "Deep", "from": {"type": "audio", "audio": SOUND}, "description": "Low."}
    voice = (await client.post("/voices", json=given)).json()["id"]
    await home.settle()
    own = {**ADA, "voice": {"type": "custom", "id": voice}}
    avatar = (await client.post("/avatars", json=own)).json()
    assert avatar["voice"] == {"type": "custom", "id": voice, "deleted": False, "name": "Deep", "description": "Low."}
    assert (await client.delete(f"/voices/{voice}")).status_code == 204
    after = (await client.get(f"/avatars/{avatar['id']}")).json()
    assert after["voice"] == {"type": "custom", "id": voice, "deleted": True}
    assert issue(await client.post("/avatars", json=own)) == (400, ["voice", "id"])


def session(id: str, started_s: float | None, ended_s: float | None, owner: str = OWNER) -> RealtimeSession:
    preset = {"type": "runway-preset", "presetId": "influencer", "name": "Influencer"}
    return RealtimeSession(
        id, owner, 0.0, "COMPLETED", preset, "influencer", 300, None, None, [], None, "room",
        started_s=started_s, ended_s=ended_s,
    )  # fmt: skip


async def test_use_by_day(home: House) -> None:
    noon = home.time[0]
    talks = (
        session("a", noon, noon + 30),
        session("b", noon + 60, noon + 81),
        session("c", noon - 86_400, noon - 86_390),
        session("d", None, None),  # never began
        session("e", noon, noon + 1000, owner="two"),
    )

    def put(connection: Any) -> None:
        for talk in talks:
            library.sessions.put(connection, talk)

    home.services.database.now(put)
    client = home.client()
    dates = {"startDate": "2025-11-20", "endDate": "2025-11-22T00:00:00+00:00"}
    assert (await client.get("/avatar_usage", params=dates)).json() == {
        "totalSessions": 3,
        "totalSeconds": 61,
        "avgDurationSeconds": 20,
        "byDay": [
            {"date": "2025-11-20", "sessions": 1, "seconds": 10},
            {"date": "2025-11-21", "sessions": 2, "seconds": 51},
            {"date": "2025-11-22", "sessions": 0, "seconds": 0},
        ],
    }
    assert issue(await client.get("/avatar_usage", params={"startDate": "2025-11-20"})) == (400, ["endDate"])
    for start, end in (("2025-11-20", "2025-11-19"), ("2020-01-01", "2025-01-01"), ("2025-11-20", "never-ever")):
        answer = await client.get("/avatar_usage", params={"startDate": start, "endDate": end})
        assert issue(answer) == (400, ["endDate"])
