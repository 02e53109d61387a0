"""Workflows over HTTP: listed, shown, run with other values and files, failing in part, and through a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from tests.realtime.runway.library_doubles import OWNER, PICTURE, SOUND, House, house
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.store import workflows as store
from worldstream.realtime.tasks import NewTask
from worldstream.realtime.workflows.graph import read_graph
from worldstream.realtime.workflows.shelf import Version, Workflow, Workflows

ID, NOBODY = "00000000-0000-4000-8000-000000000007", "3f2a8f2e-0000-4000-8000-000000000000"
GRAPH = read_graph({"nodes": [
    {"id": "place", "kind": "primitive", "name": "Place", "value": "a harbour"},
    {"id": "seed", "kind": "primitive", "value": 7},
    {"id": "photo", "kind": "image", "name": "Photo"},
    {"id": "picture", "kind": "still", "name": "Picture",
     "params": {"prompt": {"from": "place"}, "seed": {"from": "seed"}}},
    {"id": "film", "kind": "clip", "name": "Film", "params": {"prompt": {"text": "{place} at dawn"}, "seconds": 5},
     "inputs": {"first": {"from": "picture"}}},
    {"id": "large", "kind": "upscale_image", "name": "Large", "inputs": {"image": {"from": "photo", "optional": True}}},
], "outputs": ["film", "large"]})  # fmt: skip


class Killed(BaseException):
    """The end of the process."""


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        version = Version(ID, 1, GRAPH, 0.0, 60.0)
        found.inner.state.workflows = Workflows([Workflow("Harbours", None, (version,))])
        yield found


async def started(client: httpx.AsyncClient, outputs: dict[str, Any] | None = None) -> str:
    answer = await client.post(f"/workflows/{ID}", json={} if outputs is None else {"nodeOutputs": outputs})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["id"]
    return str(answer.json()["id"])


async def look(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/workflow_invocations/{id}")).json()
    return found


def task_of(home: House, kind: str) -> str:
    return next(task.id for task in reversed(home.board.tasks.values()) if task.kind == kind)


PHOTO = {"photo": {"image": {"type": "image", "uri": PICTURE}}}


async def test_what_there_is(home: House) -> None:
    client = home.client()
    version = {"id": ID, "version": 1, "createdAt": "1970-01-01T00:00:00.000Z"}
    assert (await client.get("/workflows")).json() == {"data": [{"name": "Harbours", "versions": [version]}]}
    shown = (await client.get(f"/workflows/{ID}")).json()
    assert (shown["id"], shown["description"], shown["version"]) == (ID, None, 1)
    assert shown["updatedAt"] == "1970-01-01T00:01:00.000Z"
    assert read_graph(shown["graph"]) == read_graph(GRAPH.as_json())
    for answer in (
        await client.get(f"/workflows/{NOBODY}"),
        await client.post(f"/workflows/{NOBODY}", json={}),
        await client.get(f"/workflow_invocations/{NOBODY}"),
        await client.get("/workflows/x"),
    ):
        assert answer.status_code == 404


async def test_a_run_step_by_step(home: House) -> None:
    client = home.client()
    id = await started(client, {"place": {"text": {"type": "primitive", "value": "a fjord"}}, **PHOTO})
    assert await look(client, id) == {"id": id, "createdAt": "2025-11-21T12:00:00.000Z", "status": "PENDING"}
    await home.upkeep.tick()
    assert [(n.kind, n.parent) for n in home.board.created] == [("still", id), ("upscale_image", id)]
    assert home.board.created[0].params == {"prompt": "a fjord", "seed": 7}
    assert [n.model for n in home.board.created] == ["gen4_image", "magnific_precision_upscaler_v2"]
    assert (await look(client, id))["status"] == "PENDING"
    home.board.now(task_of(home, "still"), "RUNNING", progress=0.3)
    await home.upkeep.tick()
    running = await look(client, id)
    assert (running["status"], running["output"]) == ("RUNNING", {})
    assert abs(running["progress"] - 0.1) < 1e-9

    home.board.end_all()
    home.board.now(task_of(home, "still"), "SUCCEEDED")
    await home.upkeep.tick()
    film = home.board.created[-1]
    assert (film.params, list(film.inputs)) == ({"prompt": "a fjord at dawn", "seconds": 5}, ["first"])
    assert film.inputs["first"] == home.board.tasks[task_of(home, "still")].outputs[0]
    running = await look(client, id)
    assert list(running["output"]) == ["large"]  # what is there already
    assert running["progress"] > 0.6
    await home.settle()
    done = await look(client, id)
    assert done["status"] == "SUCCEEDED"
    assert done["cost"] == {"credits": 8 + 10 + 60}
    assert sorted(done["output"]) == ["film", "large"]
    assert done["output"]["film"][0].startswith("http://worldstream.test/v1/outputs/outputs/")
    assert "nodeErrors" not in done
    assert (await home.client("key_two").get(f"/workflow_invocations/{id}")).status_code == 404


async def test_failing_in_part(home: House) -> None:
    client = home.client()
    id = await started(client, PHOTO)
    await home.upkeep.tick()
    home.board.now(task_of(home, "still"), "FAILED", failure="No.", failure_code="SAFETY.INPUT.TEXT")
    await home.settle()
    done = await look(client, id)
    assert (done["status"], list(done["output"])) == ("SUCCEEDED", ["large"])
    assert done["nodeErrors"] == {
        "picture": {"nodeName": "Picture", "message": "No.", "failureCode": "SAFETY.INPUT.TEXT"},
        "film": {"nodeName": "Film", "message": "It was not begun: it needs 'Picture', which failed."},
    }
    assert len(home.board.created) == 2  # the film was never begun

    id = await started(client, PHOTO)
    await home.upkeep.tick()
    home.board.now(task_of(home, "still"), "FAILED", failure="No.", failure_code="INTERNAL")
    home.board.now(task_of(home, "upscale_image"), "CANCELLED")
    await home.upkeep.tick()
    failed = await look(client, id)
    assert (failed["status"], failed["failure"], failed["failureCode"]) == ("FAILED", "No.", "INTERNAL")
    assert failed["nodeErrors"]["large"]["message"] == "Its task was cancelled."


async def test_files_instead_of_nodes(home: House) -> None:
    client = home.client()
    id = await started(client, {"picture": {"0": {"type": "image", "uri": PICTURE}}, **PHOTO})
    await home.upkeep.tick()
    assert sorted(n.kind for n in home.board.created) == ["clip", "upscale_image"]
    await home.settle()
    assert (await look(client, id))["status"] == "SUCCEEDED"


async def test_a_killed_server_goes_on_and_begins_nothing_twice(home: House) -> None:
    """Killed right after a task was created and before that was written down: the next server finds it again."""
    client = home.client()
    id = await started(client, PHOTO)
    create = type(home.board).create
    calls = 0

    async def dies(new: NewTask) -> Any:
        nonlocal calls
        calls += 1
        task = await create(home.board, new)
        if calls == 2:
            raise Killed
        return task

    home.board.create = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await home.upkeep.runner.tick()
    assert (await look(client, id))["status"] == "PENDING"
    assert len(home.board.tasks) == 2
    del home.board.create
    await home.upkeep.tick()
    assert len(home.board.tasks) == 2
    await home.settle()
    await home.settle()
    assert (await look(client, id))["status"] == "SUCCEEDED"
    assert len(home.board.tasks) == 3


async def test_a_blind_second_try_is_the_same_run(home: House) -> None:
    client = home.client()
    answers = [
        (
            await client.post(
                f"/workflows/{ID}", json={"nodeOutputs": PHOTO}, headers={"x-stainless-retry-count": count}
            )
        ).json()
        for count in ("0", "1", "0")
    ]
    assert answers[0] == answers[1] != answers[2]


async def test_quotas_and_cancelling(home: House) -> None:
    client = home.client()
    id = await started(client, PHOTO)

    async def refuses(new: NewTask) -> Any:
        raise ApiError(429, "The daily quota is used up.")

    home.board.create = refuses  # type: ignore[method-assign]
    await home.upkeep.tick()
    failed = await look(client, id)
    assert (failed["status"], failed["failure"], failed["failureCode"]) == (
        "FAILED",
        "The daily quota is used up.",
        "QUOTA",
    )
    del home.board.create

    id = await started(client, PHOTO)
    await home.upkeep.tick()
    run = home.services.database.now(lambda c: store.invocations.get(c, OWNER, id))
    await home.upkeep.runner.cancel(run)
    assert home.board.tasks == {}
    await home.upkeep.tick()
    assert (await look(client, id))["status"] == "CANCELLED"
    assert str(UUID(int=1)) == OWNER


async def test_bad_runs(home: House) -> None:
    client = home.client()
    words, sound = {"type": "primitive", "value": "x"}, {"type": "audio", "uri": SOUND}
    for outputs, path in (
        ({"nobody": {"0": words}}, ["nodeOutputs", "nobody"]),
        ({"place": {"a": words, "b": words}}, ["nodeOutputs", "place"]),
        ({"place": {"a": {"type": "image", "uri": PICTURE}}}, ["nodeOutputs", "place", "a", "type"]),
        ({"seed": {"a": words}}, ["nodeOutputs", "seed", "a", "value"]),
        ({"photo": {"a": sound}}, ["nodeOutputs", "photo", "a", "type"]),
        ({"picture": {"1": PHOTO["photo"]["image"]}}, ["nodeOutputs", "picture"]),
        ({"photo": {"a": {"type": "image", "uri": PICTURE + "?missing"}}}, ["nodeOutputs", "photo", "a", "uri"]),
        ({"place": {}}, ["nodeOutputs", "place"]),
        ({"place": {"a": {"type": "primitive"}}}, ["nodeOutputs", "place", "a", "value"]),
    ):
        answer = await client.post(f"/workflows/{ID}", json={"nodeOutputs": outputs})
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, path)
    assert home.board.created == []
