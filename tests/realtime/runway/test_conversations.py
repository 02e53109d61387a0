"""Conversations: what a session leaves behind, searched and forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.realtime.runway.library_doubles import PICTURE, House, KindRooms, house

VOICE = {"type": "runway-live-preset", "presetId": "leo"}


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, KindRooms()) as found:
        yield found


async def test_a_talk_with_ones_own_avatar(home: House) -> None:
    client = home.client()
    about = {"name": "Ada", "referenceImage": PICTURE, "personality": "Curious.", "voice": VOICE}
    avatar = (await client.post("/avatars", json=about)).json()["id"]
    order = {"model": "gwm1_avatars", "avatar": {"type": "custom", "avatarId": avatar}}
    early = await client.post("/realtime_sessions", json=order)
    assert (early.status_code, early.json()["issues"][0]["path"]) == (400, ["avatar", "avatarId"])
    await home.settle()
    id = (await client.post("/realtime_sessions", json=order)).json()["id"]
    await home.upkeep.tick()
    await home.talks.began(id)
    home.time[0] += 42
    going_on = (await client.get(f"/avatar_conversations/{id}")).json()
    assert (going_on["status"], going_on["duration"]) == ("in_progress", 42)
    assert "endedAt" not in going_on
    refused = await client.delete(f"/avatar_conversations/{id}")
    assert refused.status_code == 409
    await home.talks.said(id, {"role": "user", "content": "Hello?", "timestamp": "2025-11-21T12:00:10.000Z"})
    await home.talks.ended(id)

    listed = (await client.get("/avatar_conversations")).json()
    assert listed["data"] == [
        {
            "id": id,
            "name": "Ada",
            "status": "ended",
            "avatar": {"type": "custom", "id": avatar, "name": "Ada"},
            "createdAt": "2025-11-21T12:00:00.000Z",
            "duration": 42,
            "hasTools": False,
        }
    ]
    talk = (await client.get(f"/avatar_conversations/{id}")).json()
    assert talk["avatar"].pop("imageUrl").startswith("http://worldstream.test/v1/outputs/avatars/")
    assert talk == {
        **listed["data"][0],
        "maxDuration": 300,
        "startedAt": "2025-11-21T12:00:00.000Z",
        "endedAt": "2025-11-21T12:00:42.000Z",
        "recordingUrl": None,
        "tools": [],
        "transcript": [{"role": "user", "content": "Hello?", "timestamp": "2025-11-21T12:00:10.000Z"}],
    }
    assert (await client.delete(f"/avatars/{avatar}")).status_code == 204
    assert (await client.get(f"/avatar_conversations/{id}")).json()["avatar"]["imageUrl"] is None

    assert (await home.client("key_two").get(f"/avatar_conversations/{id}")).status_code == 404
    assert (await client.delete(f"/avatar_conversations/{id}")).status_code == 204
    for answer in (
        await client.get(f"/avatar_conversations/{id}"),
        await client.delete(f"/avatar_conversations/{id}"),
    ):
        assert answer.status_code == 404
    assert (await client.get("/avatar_conversations")).json()["data"] == []
    assert (await client.get(f"/realtime_sessions/{id}")).json()["status"] == "COMPLETED"


async def test_searching(home: House) -> None:
    client = home.client()
    ids = []
    for preset in ("influencer", "tennis-coach", "influencer"):
        order = {"model": "gwm1_avatars", "avatar": {"type": "runway-preset", "presetId": preset}}
        ids.append((await client.post("/realtime_sessions", json=order)).json()["id"])
        home.time[0] += 86_400

    async def found(**query: str) -> list[str]:
        answer = (await client.get("/avatar_conversations", params=query)).json()
        return [each["id"] for each in answer["data"]]

    assert await found() == ids[::-1]
    assert await found(avatar="influencer") == [ids[2], ids[0]]
    assert await found(startDate="2025-11-22") == [ids[2], ids[1]]
    assert await found(endDate="2025-11-22") == [ids[1], ids[0]]  # the whole of that day
    assert await found(startDate="2025-11-22T12:00:00+00:00", endDate="2025-11-22T12:00:00.000Z") == [ids[1]]
    first = (await client.get("/avatar_conversations", params={"limit": 2})).json()
    assert [each["id"] for each in first["data"]] == [ids[2], ids[1]]
    assert await found(limit="2", cursor=first["nextCursor"]) == [ids[0]]
    preset = first["data"][1]["avatar"]
    assert preset == {"type": "runway-preset", "presetId": "tennis-coach", "name": "Tennis coach"}
    bad = await client.get("/avatar_conversations", params={"startDate": "last Tuesday"})
    assert (bad.status_code, bad.json()["issues"][0]["path"]) == (400, ["startDate"])
