"""Voices of one's own: from a recording and from words, previews, and engines that are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.realtime.runway.library_doubles import SOUND, House, house
from worldstream.realtime.runway.bodies import is_uuid
from worldstream.realtime.tasks import NewTask, Task

WORDS = {"type": "text", "prompt": "An old man with a deep voice.", "model": "eleven_ttv_v3"}


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


async def test_a_voice_from_words(home: House) -> None:
    client = home.client()
    made = await client.post("/voices", json={"name": "Grandpa", "from": WORDS})
    assert made.status_code == 200
    id = made.json()["id"]
    assert list(made.json()) == ["id"]
    assert is_uuid(id)
    (order,) = home.board.created
    assert (order.kind, order.params["voice"]) == ("speech", "described: An old man with a deep voice.")
    shown = (await client.get(f"/voices/{id}")).json()
    assert shown == {
        "id": id,
        "name": "Grandpa",
        "description": None,
        "createdAt": "2025-11-21T12:00:00.000Z",
        "status": "PROCESSING",
    }
    assert (await client.patch(f"/voices/{id}", json={"description": "Tells stories."})).json() == {
        **shown,
        "description": "Tells stories.",
    }
    await home.settle()  # the new description stays
    ready = (await client.get(f"/voices/{id}")).json()
    assert ready["status"] == "READY"
    assert ready["description"] == "Tells stories."
    assert f"/v1/outputs/voices/{id}/preview.mp3?" in ready["previewUrl"]
    cleared = (await client.patch(f"/voices/{id}", json={"description": None})).json()
    assert (cleared["description"], cleared["name"]) == (None, "Grandpa")
    assert (await client.get("/voices", params={"limit": 1})).json()["data"] == [cleared]
    assert (await home.client("key_two").get(f"/voices/{id}")).status_code == 404
    assert (await client.delete(f"/voices/{id}")).status_code == 204
    assert (await client.get(f"/voices/{id}")).status_code == 404
    assert not list(home.files.rglob("preview*"))


async def test_a_voice_from_a_recording_keeps_a_copy_of_it(home: House) -> None:
    client = home.client()
    id = (await client.post("/voices", json={"name": "Me", "from": {"type": "audio", "audio": SOUND}})).json()["id"]
    (order,) = home.board.created
    assert list(order.inputs) == ["reference"]
    await home.settle()
    assert (home.files / f"voices/{id}/recording.mp3").read_text() == SOUND


async def test_no_engine_is_said_plainly(home: House) -> None:
    client = home.client()
    id = (await client.post("/voices", json={"name": "x", "from": WORDS})).json()["id"]
    (task,) = home.board.tasks
    home.board.now(task, "FAILED", failure="There is no voice on this machine; pip install worldstream[speech].")
    await home.settle()
    failed = (await client.get(f"/voices/{id}")).json()
    assert failed["status"] == "FAILED"
    assert failed["failureReason"] == "There is no voice on this machine; pip install worldstream[speech]."
    assert "previewUrl" not in failed


async def test_bad_orders(home: House) -> None:
    client = home.client()
    for origin, path in (
        ({"type": "text", "prompt": "Too short.", "model": "eleven_ttv_v3"}, ["from", "prompt"]),
        ({"type": "text", "prompt": "x" * 30, "model": "eleven_v3"}, ["from", "model"]),
        ({"type": "audio", "audio": SOUND + "?missing"}, ["from", "audio"]),
        ({"type": "song"}, ["from", "type"]),
    ):
        answer = await client.post("/voices", json={"name": "x", "from": origin})
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path)


async def test_previews(home: House) -> None:
    home.board.quick = True

    outcome: dict[str, Any] = {"facts": {"seconds": 2.5}}

    async def spoken(new: NewTask) -> Task:
        task = replace(await type(home.board).create(home.board, new), **outcome)
        home.board.tasks[task.id] = task
        return task

    home.board.create = spoken  # type: ignore[method-assign]
    client = home.client()
    body = {"prompt": WORDS["prompt"], "model": "eleven_multilingual_ttv_v2"}
    answer = (await client.post("/voices/preview", json=body)).json()
    assert answer["durationSecs"] == 2.5
    assert answer["url"].startswith("http://worldstream.test/v1/outputs/outputs/")
    outcome = {"state": "FAILED", "failure": "It could not be done."}
    refused = await client.post("/voices/preview", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"] == "The voice could not be made: It could not be done."


async def test_a_blind_second_try_fetches_nothing_again(home: House) -> None:
    client, body = home.client(), {"name": "Me", "from": {"type": "audio", "audio": SOUND}}
    first = (await client.post("/voices", json=body)).json()["id"]
    again = await client.post("/voices", json=body, headers={"x-stainless-retry-count": "1"})
    assert again.json()["id"] == first
    assert home.assets.gathered == [SOUND]
    assert len(home.board.created) == 1
