"""Realtime sessions over HTTP: the handshake, one use of the key, browsers of other origins, tools, and no room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest_asyncio

from tests.realtime.runway.library_doubles import House, KindRooms, house
from worldstream.realtime.store import library

PRESET = {"type": "runway-preset", "presetId": "fashion-designer"}
ORDER = {"model": "gwm1_avatars", "avatar": PRESET}
NOBODY = "3f2a8f2e-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, KindRooms()) as found:
        yield found


def browser(home: House) -> httpx.AsyncClient:
    """Another origin, no API key, no version."""
    client = home.client()
    del client.headers["Authorization"], client.headers["X-Runway-Version"]
    client.headers["Origin"] = "https://shop.example"
    return client


async def test_the_handshake(home: House) -> None:
    client, page = home.client(), browser(home)
    made = (await client.post("/realtime_sessions", json={**ORDER, "maxDuration": 1800})).json()
    id = made["id"]
    assert made["maxDuration"] == 1800
    fresh = (await client.get(f"/realtime_sessions/{id}")).json()
    assert fresh == {"id": id, "createdAt": "2025-11-21T12:00:00.000Z", "status": "NOT_READY", "maxDuration": 1800}
    await home.upkeep.tick()
    ready = (await client.get(f"/realtime_sessions/{id}")).json()
    assert ready["status"] == "READY"
    assert ready["expiresAt"] == "2025-11-21T12:05:00.000Z"

    way = f"/realtime_sessions/{id}/consume"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = await page.options(way, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert {"authorization", "content-type"} <= set(preflight.headers["access-control-allow-headers"].split(", "))
    wrong = await page.post(way, headers={"Authorization": "Bearer rsk_wrong"})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (401, "*")
    assert (await page.post(way)).status_code == 401
    key = {"Authorization": f"Bearer {ready['sessionKey']}", "Content-Type": "application/json"}
    let_in = await page.post(way, headers=key)
    assert let_in.status_code == 200
    assert let_in.headers["access-control-allow-origin"] == "*"
    entrance = let_in.json()
    assert (entrance["url"], entrance["roomName"]) == ("ws://worldstream.test", f"talk-{id}")
    options: dict[str, bool] = {"verify_exp": False, "verify_nbf": False}
    claims = jwt.decode(entrance["token"], b"secret of the room" * 2, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    assert (claims["video"]["roomJoin"], claims["video"]["room"]) == (True, entrance["roomName"])
    again = await page.post(way, headers=key)
    assert (again.status_code, again.headers["access-control-allow-origin"]) == (403, "*")

    assert (await client.get(f"/realtime_sessions/{id}")).json()["status"] == "READY"  # not RUNNING by itself
    backend = (await client.post(f"/realtime_sessions/{id}/connect_backend")).json()
    assert jwt.decode(backend["token"], options={"verify_signature": False})["video"]["hidden"] is True
    assert (await page.post(f"/realtime_sessions/{id}/connect_backend", headers=key)).status_code == 401
    await home.talks.began(id)
    assert (await client.get(f"/realtime_sessions/{id}")).json()["status"] == "RUNNING"
    home.time[0] += 1799
    await home.upkeep.tick()
    assert (await client.get(f"/realtime_sessions/{id}")).json()["status"] == "RUNNING"
    home.time[0] += 1
    over = (await client.get(f"/realtime_sessions/{id}")).json()
    assert (over["status"], over["duration"]) == ("COMPLETED", 1800)
    assert home.rooms is not None
    assert home.rooms.closed == [id]
    assert (await client.post(f"/realtime_sessions/{id}/connect_backend")).status_code == 400


async def test_endings(home: House) -> None:
    client = home.client()
    id = (await client.post("/realtime_sessions", json=ORDER)).json()["id"]
    assert (await home.client("key_two").get(f"/realtime_sessions/{id}")).status_code == 404
    assert (await home.client("key_two").delete(f"/realtime_sessions/{id}")).status_code == 404
    assert (await client.delete(f"/realtime_sessions/{id}")).status_code == 204
    assert (await client.get(f"/realtime_sessions/{id}")).json()["status"] == "CANCELLED"
    assert (await client.delete(f"/realtime_sessions/{id}")).status_code == 204  # over already, and stays so
    assert (await client.get(f"/realtime_sessions/{NOBODY}")).status_code == 404
    assert (await browser(home).post(f"/realtime_sessions/{NOBODY}/consume")).status_code == 404

    id = (await client.post("/realtime_sessions", json=ORDER)).json()["id"]
    await home.upkeep.tick()
    key = (await client.get(f"/realtime_sessions/{id}")).json()["sessionKey"]
    home.time[0] += 300
    late = await browser(home).post(f"/realtime_sessions/{id}/consume", headers={"Authorization": f"Bearer {key}"})
    assert late.status_code == 403
    failed = (await client.get(f"/realtime_sessions/{id}")).json()
    assert (failed["status"], failed["failureCode"]) == ("FAILED", "SESSION.EXPIRED")


async def test_a_server_without_a_room_says_so(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        client = home.client()
        id = (await client.post("/realtime_sessions", json=ORDER)).json()["id"]
        await home.upkeep.tick()
        failed = (await client.get(f"/realtime_sessions/{id}")).json()
        assert (failed["status"], failed["failureCode"]) == ("FAILED", "INTERNAL.NO_MEDIA_ROOM")
        assert "no media room" in failed["failure"]
        talk = (await client.get(f"/avatar_conversations/{id}")).json()
        assert (talk["status"], talk["failureCode"], talk["duration"]) == ("failed", "INTERNAL.NO_MEDIA_ROOM", None)


TOOLS: list[dict[str, Any]] = [
    {"type": "client_event", "name": "highlight", "description": "Mark a thing.", "parameters": [
        {"type": "string", "name": "target", "description": "Which.", "enum": ["a", "b"]},
        {"type": "object", "name": "box", "description": "Where.", "required": False, "properties": [
            {"type": "array", "name": "xs", "description": "Edges.", "items": {"type": "number"}}]}]},
    {"type": "backend_rpc", "name": "look_up", "description": "Find it.", "timeoutSeconds": 8},
]  # fmt: skip


async def test_tools_and_integrations_are_kept(home: House) -> None:
    client = home.client()
    room = {"url": "wss://rooms.example", "token": "t", "roomName": "mine", "agentIdentity": "agent"}
    body = {**ORDER, "tools": TOOLS, "livekit": room, "personality": "Calm.", "startScript": "Hi."}
    id = (await client.post("/realtime_sessions", json=body)).json()["id"]
    kept = home.services.database.now(lambda c: library.sessions.get(c, None, id))
    assert kept.integration == {"type": "livekit", **room}
    assert kept.room == "mine"
    assert kept.tools[0]["parameters"][0]["required"] is True  # the default applies
    assert kept.tools[0]["parameters"][1]["properties"][0]["items"] == {"type": "number"}
    assert (kept.tools[1]["timeoutSeconds"], kept.tools[1]["parameters"]) == (8, [])
    listed = (await client.get("/avatar_conversations", params={"limit": 5})).json()["data"]
    assert listed[0]["hasTools"] is True
    talk = (await client.get(f"/avatar_conversations/{id}")).json()
    assert talk["tools"][1] == {"type": "backend_rpc", "name": "look_up", "description": "Find it."}


async def test_bad_sessions(home: House) -> None:
    client = home.client()
    tool = TOOLS[1]
    both = {"integration": {"type": "elevenlabs", "signedUrl": "wss://x"}, "livekit": {"url": "w", "token": "t"}}
    for change, path in (
        ({"model": "gwm2"}, ["model"]),
        ({"maxDuration": 9}, ["maxDuration"]),
        ({"maxDuration": 1801}, ["maxDuration"]),  # refused, never shortened
        ({"maxDuration": 10.5}, ["maxDuration"]),
        ({"avatar": {"type": "runway-preset", "presetId": "nobody"}}, ["avatar", "presetId"]),
        ({"avatar": {"type": "custom", "avatarId": NOBODY}}, ["avatar", "avatarId"]),
        ({"tools": [{**tool, "name": "1st"}]}, ["tools", 0, "name"]),
        ({"tools": [{**tool, "timeoutSeconds": 9}]}, ["tools", 0, "timeoutSeconds"]),
        ({"tools": [tool, tool]}, []),
        ({"tools": [tool] * 21}, ["tools"]),
        ({"startScript": ""}, ["startScript"]),
        (both, ["livekit", "roomName"]),
    ):
        answer = await client.post("/realtime_sessions", json={**ORDER, **change})
        assert answer.status_code == 400, change
        assert answer.json()["issues"][0]["path"] == path, answer.json()
