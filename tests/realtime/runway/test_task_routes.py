"""Tasks as clients see them: members of each state, whose they are, addresses that work."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.realtime.runway.conftest import HEADERS
from tests.realtime.runway.doubles import MemoryBoard, StrictDoor
from worldstream.realtime.services import Services

CLIP: dict[str, Any] = {"model": "gen4.5", "ratio": "1280:720", "duration": 2, "promptText": "A lake"}
ALWAYS = {"id", "createdAt", "status", "metadata"}
UNKNOWN = ["00000000-0000-4000-8000-00000000dead", "x", "%2e%2e", "0" * 36, "😀", "a" * 5000]


async def made(client: httpx.AsyncClient, prompt: str) -> dict[str, Any]:
    created = await client.post("/v1/text_to_video", json=CLIP | {"promptText": prompt})
    answer = await client.get(f"/v1/tasks/{created.json()['id']}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("prompt", "status", "more"),
    [
        ("it waits", "PENDING", {"estimatedCost": {"credits": 24}}),
        ("it queues", "THROTTLED", {"estimatedCost": {"credits": 24}}),
        ("it stays", "RUNNING", {"estimatedCost": {"credits": 24}, "progress": 0.25}),
        (
            "it fails",
            "FAILED",
            {
                "cost": {"credits": 0},
                "failure": "It could not be done.",
                "failureCode": "INTERNAL.BAD_OUTPUT.CODE01",
            },
        ),
    ],
)
async def test_members_of_each_state(client: httpx.AsyncClient, prompt: str, status: str, more: dict[str, Any]) -> None:
    found = await made(client, prompt)
    assert found["status"] == status
    assert {name: value for name, value in found.items() if name not in ALWAYS} == more
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["createdAt"])
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found["id"])


async def test_outputs_are_signed_addresses_on_the_public_host(client: httpx.AsyncClient, services: Services) -> None:
    first = await made(client, "A lake")
    assert first.keys() == ALWAYS | {"output", "cost"}
    assert first["cost"] == {"credits": 24}
    assert first["metadata"] == {"requested": "gen4.5", "model": "nano", "seconds": 1.0}
    (url,) = first["output"]
    assert url.startswith(f"http://worldstream.test/v1/outputs/outputs/{first['id']}/0.mp4?")
    assert "signature=" in url
    object.__setattr__(services, "public_url", "https://worlds.example")
    (url,) = (await made(client, "A lake"))["output"]
    assert url.startswith("https://worlds.example/v1/outputs/")


async def test_what_no_model_followed_is_told(client: httpx.AsyncClient) -> None:
    body = {"model": "veo3.1", "ratio": "1280:720", "promptText": "x", "negativePrompt": "fog", "audio": True}
    created = (await client.post("/v1/text_to_video", json=body)).json()
    assert created["metadata"]["ignored"] == ["negativePrompt"]
    assert (await client.get(f"/v1/tasks/{created['id']}")).json()["metadata"]["ignored"] == ["negativePrompt"]


async def test_deleted_is_gone(client: httpx.AsyncClient) -> None:
    for prompt in ("it stays", "A lake"):
        id = (await made(client, prompt))["id"]
        answer = await client.delete(f"/v1/tasks/{id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(f"/v1/tasks/{id}")).status_code == 404
        again = await client.delete(f"/v1/tasks/{id}")
        assert (again.status_code, again.json()) == (404, {"error": "A task with this id was not found."})


async def test_anothers_task_is_not_found(client: httpx.AsyncClient) -> None:
    id = (await made(client, "A lake"))["id"]
    stranger = HEADERS | {"Authorization": "Bearer key_two"}
    assert (await client.get(f"/v1/tasks/{id}", headers=stranger)).status_code == 404
    assert (await client.delete(f"/v1/tasks/{id}", headers=stranger)).status_code == 404
    assert (await client.get(f"/v1/tasks/{id}")).status_code == 200


@pytest.mark.parametrize("id", UNKNOWN)
async def test_unknown_ids(client: httpx.AsyncClient, id: str) -> None:
    assert (await client.get(f"/v1/tasks/{id}")).status_code == 404
    assert (await client.delete(f"/v1/tasks/{id}")).status_code == 404


async def test_scopes_are_asked_for(client: httpx.AsyncClient, services: Services, door: StrictDoor) -> None:
    assert isinstance(services.tasks, MemoryBoard)
    await made(client, "A lake")
    await client.post("/v1/uploads", json={"filename": "x.png", "type": "ephemeral"})
    assert [scope for _, scope in door.asked] == ["generate", "tasks", "generate"]
