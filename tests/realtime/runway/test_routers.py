"""Routers over HTTP: versions and merges of settings, generation by them, and their log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.realtime.runway.library_doubles import PICTURE, House, house
from worldstream.realtime.store.routers import merged


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        found.board.quick = True
        yield found


SETTINGS = {
    "optimizeFor": "quality",
    "models": {"mode": "allowlist_only", "ids": ["gen4.5", "gen4_turbo", "gen4_image"]},
    "maxCreditsPerGeneration": {"video": 100, "image": 8},
}


async def test_a_router_and_its_versions(home: House) -> None:
    client = home.client()
    made = (await client.post("/routers", json={"slug": "films", "settings": SETTINGS})).json()
    id = made["id"]
    assert made == {
        "id": id,
        "slug": "films",
        "name": "films",
        "description": None,
        "settings": {**SETTINGS, "schemaVersion": 1},
        "version": 1,
        "createdAt": "2025-11-21T12:00:00.000Z",
        "updatedAt": "2025-11-21T12:00:00.000Z",
    }
    plain = (await client.post("/routers", json={"slug": "plain", "name": "Plain"})).json()
    assert plain["settings"] == {"schemaVersion": 1, "optimizeFor": "cost"}
    home.time[0] += 1
    change = {
        "description": "All films.",
        "settings": {"models": {"ids": ["gen4.5"]}, "maxCreditsPerGeneration": {"video": None}},
    }
    changed = (await client.patch(f"/routers/{id}", json=change)).json()
    assert changed["settings"] == {
        "optimizeFor": "quality",
        "models": {"mode": "allowlist_only", "ids": ["gen4.5"]},
        "maxCreditsPerGeneration": {"image": 8},
        "schemaVersion": 1,
    }
    assert (changed["version"], changed["description"]) == (2, "All films.")
    assert changed["updatedAt"] > changed["createdAt"]
    cleared = await client.patch(
        f"/routers/{id}", json={"description": None, "settings": {"maxCreditsPerGeneration": None}}
    )
    assert (cleared.json()["description"], cleared.json()["version"]) == (None, 3)
    assert "maxCreditsPerGeneration" not in cleared.json()["settings"]
    assert (await client.get(f"/routers/{id}")).json() == cleared.json()

    for body, path in (
        ({"slug": "other"}, []),
        ({"settings": {"models": {"ids": ["no-such-model"]}}}, ["settings", "models", "ids", 0]),
        ({"settings": {"optimizeFor": None}}, ["settings", "optimizeFor"]),
        ({"settings": {"maxCreditsPerGeneration": {"video": -1}}}, ["settings", "maxCreditsPerGeneration", "video"]),
    ):
        answer = await client.patch(f"/routers/{id}", json=body)
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path)
    half = await client.patch(f"/routers/{plain['id']}", json={"settings": {"models": {"ids": ["gen4.5"]}}})
    assert half.json()["issues"][0]["path"] == ["settings", "models", "mode"]
    assert (await client.get(f"/routers/{plain['id']}")).json() == plain
    again = await client.post("/routers", json={"slug": "films"})
    assert (again.status_code, again.json()["issues"][0]["path"]) == (400, ["slug"])
    assert (await home.client("key_two").post("/routers", json={"slug": "films"})).status_code == 200  # its own
    assert (await home.client("key_two").get(f"/routers/{id}")).status_code == 404
    listed = (await client.get("/routers", params={"limit": 1})).json()
    assert (len(listed["data"]), listed["hasMore"]) == (1, True)
    assert (await client.delete(f"/routers/{id}")).status_code == 204
    assert (await client.get(f"/routers/{id}")).status_code == 404


async def test_generating_by_a_router(home: House) -> None:
    client = home.client()
    id = (await client.post("/routers", json={"slug": "films", "settings": SETTINGS})).json()["id"]

    async def order(modality: str, **wanted: Any) -> Any:
        return await client.post(f"/generate/{modality}", json={"configId": "films", "input": wanted})

    made = (await order("video", promptText="A boat.", duration=7, aspectRatio="9:16")).json()
    assert made["routing"] == {
        "model": "gen4.5",
        "provider": "worldstream",
        "configId": "films",
        "resolvedSettings": {"optimizeFor": "quality", "priceCeiling": 100},
        "resolvedInput": {"duration": 7, "ratio": "720:1280", "resolution": "720p"},
        "estimatedCost": {"credits": 84},
    }
    task = home.board.created[-1]
    assert (task.kind, task.model, task.credits) == ("clip", "gen4.5", 84)
    assert (task.params["width"], task.params["height"], task.params["seconds"]) == (720, 1280, 7)

    first = [{"uri": PICTURE, "role": "first"}]
    await client.patch(f"/routers/{id}", json={"settings": {"optimizeFor": "cost"}})
    turbo = (await order("video", promptText="A boat.", referenceImages=first)).json()["routing"]
    assert (turbo["model"], turbo["estimatedCost"]["credits"]) == ("gen4_turbo", 25)
    assert list(home.board.created[-1].inputs) == ["first"]
    image = (await order("image", promptText="A boat.", seed=5)).json()["routing"]
    assert image["model"] == "gen4_image"
    assert image["resolvedInput"] == {"ratio": "1360:768", "aspectRatio": "16:9", "resolution": "1k"}
    assert home.board.created[-1].params["seed"] == 5

    none = await order("video", promptText="x", duration=10)
    assert none.status_code == 400
    assert (none.json()["code"], none.json()["emptiedBy"]) == ("no_eligible_model", ["price"])
    assert [stage["filter"] for stage in none.json()["pipeline"]][-1] == "price"
    speech = await order("audio", type="speech", promptText="Hi.")
    assert speech.json()["emptiedBy"] == ["allow_deny"]
    lost = await client.post("/generate/video", json={"configId": "nobody", "input": {"promptText": "x"}})
    assert (lost.status_code, lost.json()["code"]) == (404, "router_config_not_found")
    others = home.client("key_two")
    assert (await others.post("/generate/video", json={"configId": "films", "input": {}})).status_code == 404
    bad = await order("video", promptText="A boat.", referenceImages=[{"uri": PICTURE + "?missing", "role": "first"}])
    assert bad.status_code == 400
    assert bad.json()["issues"][0]["path"] == ["input", "referenceImages", 0, "uri"]

    log = (await client.get(f"/routers/{id}/requests", params={"limit": 100})).json()["data"]
    assert sorted(row["status"] for row in log) == ["invalid_request", *["no_eligible_model"] * 2, *["routed"] * 3]
    routed = next(row for row in log if row["taskId"] == made["id"])
    assert (routed["model"], routed["estimatedCredits"], routed["reasonCode"]) == ("gen4.5", 84, "only_eligible_model")
    assert routed["pipeline"][-1]["type"] == "rank"
    assert (await others.get(f"/routers/{id}/requests")).status_code == 404


async def test_full_models_are_passed_over(home: House) -> None:
    client = home.client()
    settings = {"fallback": {"onCapacity": True}}
    await client.post("/routers", json={"slug": "films", "settings": settings})
    body = {"configId": "films", "input": {"promptText": "It stays."}}
    answers = [(await client.post("/generate/video", json=body)).json()["routing"] for _ in range(3)]
    assert [a["model"] for a in answers[:2]] == ["gen4.5", "gen4.5"]
    assert "capacityFallback" not in answers[0]
    assert answers[2]["model"] != "gen4.5"
    assert answers[2]["capacityFallback"] == {"skipped": ["gen4.5"], "allExhausted": False}


async def test_bad_input(home: House) -> None:
    client = home.client()
    first = {"uri": PICTURE, "role": "first"}
    for modality, wanted, path in (
        ("video", {"duration": 31}, ["input", "duration"]),
        ("video", {"promptText": "\U0001f30a" * 3001}, ["input", "promptText"]),  # each counts twice
        ("video", {"referenceImages": [first, first]}, ["input"]),
        ("video", {"keyframes": [{"uri": PICTURE, "seconds": 1}]}, ["input"]),
        ("video", {"model": "gen4.5"}, ["input"]),
        ("image", {}, ["input", "promptText"]),
        ("audio", {"type": "song", "promptText": "x"}, ["input", "type"]),
    ):
        answer = await client.post(f"/generate/{modality}", json={"configId": "films", "input": wanted})
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path), answer.text


def test_merging() -> None:
    before = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(before, {"a": {"x": None}, "c": {"z": 1}}) == {"a": {"y": 2}, "b": 3, "c": {"z": 1}}
    assert merged(before, {"a": {"x": None, "y": None}}) == {"b": 3}
    assert merged(before, {"a": None, "b": None}) == {}
    assert before == {"a": {"x": 1, "y": 2}, "b": 3}
