"""Tasks over our own JSON, on the application that the server serves, live world included."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from tests.realtime import quick_jobs
from tests.realtime.doubles import eventually
from tests.realtime.fake_world import FakeWorld
from tests.realtime.queues import QUICK, ROOT
from worldstream.realtime.config import ServerConfig
from worldstream.realtime.jobs.process import Calm
from worldstream.realtime.offline import Offline
from worldstream.realtime.serve import build_app

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


@pytest_asyncio.fixture
async def offline(config: ServerConfig) -> AsyncIterator[Offline]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / ".links"), str(ROOT)])
    yield Offline(replace(config, tasks=QUICK), kinds=quick_jobs.KINDS, finder=quick_jobs.FINDER)


@pytest_asyncio.fixture
async def client(offline: Offline, config: ServerConfig) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(config, FakeWorld(), offline)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8800", timeout=20.0) as found,
    ):
        yield found


async def ended(client: httpx.AsyncClient, id: str) -> Any:
    async with asyncio.timeout(20.0):
        while True:
            task = (await client.get(f"/api/tasks/{id}")).json()
            if task["state"] in FINAL:
                return task
            await asyncio.sleep(0.02)


async def test_a_task_from_order_to_file_and_away(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/tasks", json={"kind": "write", "params": {"says": "hello", "prompt": "A Sea"}})
    assert made.status_code == 201
    task = await ended(client, made.json()["id"])
    assert (task["state"], task["kind"], task["progress"], task["facts"]["ran"]) == ("SUCCEEDED", "write", 1.0, "quick")
    assert (await client.get(task["outputs"][0])).text == "hello"
    same = await client.get(
        f"/v1/tasks/{task['id']}", headers={"authorization": "Bearer x", "x-runway-version": "2024-11-06"}
    )
    assert same.json()["status"] == "SUCCEEDED"  # one household where there are no keys
    found = (await client.get("/api/tasks", params={"search": "sea"})).json()
    assert [t["id"] for t in found["tasks"]] == [task["id"]]
    assert (await client.delete(f"/api/tasks/{task['id']}")).status_code == 204
    for again in (client.get(f"/api/tasks/{task['id']}"), client.delete(f"/api/tasks/{task['id']}")):
        assert (await again).json()["error"]["code"] == "no_such_task"
    assert (await client.get(task["outputs"][0])).status_code == 404


async def test_media_are_received_and_what_is_none_is_refused(client: httpx.AsyncClient, config: ServerConfig) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(file, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    made = await client.post("/api/tasks", json={"kind": "write", "params": {"says": ""}, "inputs": {"first": uri}})
    task = await ended(client, made.json()["id"])
    assert (await client.get(task["outputs"][0])).content[:4] == b"\x89PNG"
    bad = {"kind": "write", "inputs": {"first": "data:image/png;base64,AAAA"}}
    refused = await client.post("/api/tasks", json=bad)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "bad_media"
    assert (await client.post("/api/tasks", json={"kind": "paint", "inputs": {"first": uri}})).status_code == 400
    assert (await client.post("/api/tasks", json={**bad, "inputs": {"a-b": uri}})).status_code == 400
    kept = [path.parent.name for path in (config.data / "blobs").rglob("*.png")]
    assert kept == ["inputs"]  # of the one task that was made


async def test_events_go_on_until_the_end(client: httpx.AsyncClient) -> None:
    params = {"steps": 8, "step_s": 0.05, "shows": True}
    made = (await client.post("/api/tasks", json={"kind": "write", "params": params})).json()
    answer = await client.get(f"/api/tasks/{made['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [
        json.loads(part.removeprefix("data: ")) for part in answer.text.split("\n\n") if part.startswith("data: ")
    ]
    assert events[-1]["state"] == "SUCCEEDED"
    assert events[-1]["outputs"]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert any(event["left_s"] is not None for event in events)
    pictures = [event["preview"] for event in events if "preview" in event]
    assert pictures[0].startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0].partition(",")[2]))).size == (64, 36)
    assert (await client.get("/api/tasks/none/events")).status_code == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"kind": "paint"}, "There is no kind of job 'paint'"),
        ({"kind": "write", "params": {"seconds": 181}}, "`seconds` is from 0 to 180; got 181"),
        ({"kind": "write", "params": {"width": 5000}}, "`width` is from 16 to 4096; got 5000"),
        ({"kind": "write", "params": {"height": "tall"}}, "`height` is from 16 to 4096; got tall"),
        ({"kind": "write", "params": {"prompt": "x" * 70_000}}, "at most 65536"),
        ({"kind": "write", "inputs": {"../a": "data:,"}}, "Invalid asset"),
        ({"kind": "write", "more": 1}, "more"),
        ({}, "kind"),
        ([], "body"),
    ],
)
async def test_orders_that_are_refused(client: httpx.AsyncClient, body: Any, text: str) -> None:
    answer = await client.post("/api/tasks", json=body)
    assert answer.status_code == 400
    assert text in json.dumps(answer.json(), ensure_ascii=False)
    assert (await client.get("/api/tasks")).json() == {"tasks": [], "next": None}


async def test_pages_of_other_sites_are_refused(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("POST", "/api/tasks"),
        ("GET", "/api/tasks"),
        ("GET", "/api/tasks/x"),
        ("DELETE", "/api/tasks/x"),
    ):
        answer = await client.request(method, path, headers={"origin": "https://evil.example"}, json={"kind": "write"})
        assert answer.status_code == 403, path


async def test_lists_in_pages(client: httpx.AsyncClient) -> None:
    made = [(await client.post("/api/tasks", json={"kind": "write"})).json()["id"] for _ in range(5)]
    first = (await client.get("/api/tasks?limit=3")).json()
    second = (await client.get("/api/tasks", params={"limit": 3, "before": first["next"]})).json()
    assert [t["id"] for t in first["tasks"] + second["tasks"]] == made[::-1]
    assert second["next"] is None
    for bad in ("x", "WzFd", "WyJhIiwiYiJd"):
        assert (await client.get("/api/tasks", params={"before": bad})).status_code == 400


async def test_a_server_with_keys_asks_for_one(client: httpx.AsyncClient, config: ServerConfig) -> None:
    from worldstream.realtime.cli import main

    assert (await client.get("/api/tasks")).status_code == 200
    assert await asyncio.to_thread(main, ["keys", "create", "--data", str(config.data)]) == 0
    await asyncio.sleep(1.1)  # who was let in is remembered for a second
    answer = await client.get("/api/tasks")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_refused")


async def test_whoever_plays_live_goes_first(client: httpx.AsyncClient, offline: Offline, monkeypatch: Any) -> None:
    told: list[Calm] = []
    monkeypatch.setattr(offline.queue, "be", told.append)
    await eventually(lambda: told)  # the house says so at every tick
    assert set(told) == {Calm()}


async def test_the_live_world_is_served_beside_it(client: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await client.get("/api/world")).json()["name"] == "fake"
    unknown = await client.get("/v1/nothing", headers={"authorization": "Bearer x"})
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
    large = await client.post("/v1/tasks", headers={"content-length": str(65 * 2**20)}, content=b"")
    assert (large.status_code, "too large" in large.json()["error"]) == (413, True)
