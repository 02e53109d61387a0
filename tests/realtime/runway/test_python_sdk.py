"""The official Python SDK, unmodified and with strict validation of answers, against a real server process."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import runwayml
from runwayml import AsyncRunwayML, RunwayML

from tests.realtime.runway import media
from tests.realtime.runway.routes import VERSIONS, note
from tests.realtime.runway.sdk_shapes import requests
from tests.realtime.serve_tasks import task_server
from worldstream.realtime.runway.generation_routes import ENDPOINTS

SDK_ENDPOINTS = [name for name in ENDPOINTS if name != "robotics_action_to_video"]
ABSENT = {"character_performance", "avatar_videos", "voice_dubbing"}
UNKNOWN = "00000000-0000-4000-8000-00000000dead"
CLIP: dict[str, Any] = {"model": "gen4.5", "ratio": "1280:720", "duration": 2}
SOUND: dict[str, Any] = {"model": "eleven_text_to_sound_v2"}  # light work, which never waits for films
STILL: dict[str, Any] = {"model": "gen4_image", "ratio": "720:720"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = {"WORLDSTREAM_DUBBING_URL": "", "WORLDSTREAM_TEST_TASKS": "cancel_grace_s=2"}
    data = tmp_path_factory.mktemp("data")
    with task_server(data, kinds="tests.realtime.runway.contract_jobs", environment=environment) as server:
        yield server.url


@pytest_asyncio.fixture
async def client(address: str) -> AsyncIterator[AsyncRunwayML]:
    async with AsyncRunwayML(
        api_key="key_test", base_url=address, max_retries=0, _strict_response_validation=True
    ) as found:
        yield found


def pythonic(value: Any) -> Any:
    """camelCase members as the SDK's arguments name them."""
    if isinstance(value, dict):
        return {re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower(): pythonic(inner) for name, inner in value.items()}
    return [pythonic(inner) for inner in value] if isinstance(value, list) else value


def plural(count: int) -> str:
    return f"{count} model" + "s" * (count > 1)


async def ended(client: AsyncRunwayML, id: str) -> Any:
    """The task when it has ended, looked at more often than the SDK's own wait does."""
    async with asyncio.timeout(30.0):
        while True:
            task = await client.tasks.retrieve(id)
            if task.status not in ("PENDING", "THROTTLED", "RUNNING"):
                return task
            await asyncio.sleep(0.02)


def test_the_sdk_is_the_one_that_is_named() -> None:
    assert runwayml.__version__ == VERSIONS["python"]


@pytest.mark.parametrize("endpoint", [name for name in SDK_ENDPOINTS if name not in ABSENT])
async def test_every_model_of_every_endpoint(client: AsyncRunwayML, endpoint: str) -> None:
    resource = getattr(client, endpoint)
    made = []
    for model, shape in requests(endpoint):
        body = pythonic(media.example(endpoint, model, shape))
        created = await resource.create(**body)
        assert created.estimated_cost.credits >= 0
        assert created.metadata["requested"] == model
        made.append(created.id)
    task = await ended(client, made[-1])
    assert task.status == "SUCCEEDED", task
    note(f"POST /v1/{endpoint}", "python", "works", plural(len(made)), task.metadata["model"])


@pytest.mark.parametrize("endpoint", sorted(ABSENT))
async def test_what_no_model_can_do_is_refused(client: AsyncRunwayML, endpoint: str) -> None:
    ((model, shape),) = requests(endpoint.replace("avatar_videos", "avatar_video"))
    with pytest.raises(runwayml.BadRequestError) as caught:
        await getattr(client, endpoint).create(**pythonic(media.example(endpoint, model, shape)))
    assert isinstance(caught.value.body, dict)
    (issue,) = caught.value.body["issues"]
    assert issue["path"] == ["model"]
    note(f"POST /v1/{endpoint}", "python", "refused", issue["message"])


async def test_robots_are_asked_for_by_plain_posts(client: AsyncRunwayML) -> None:
    body = {"model": "robotics_v1", "robotAction": [[0.0] * 7] * 18, "seed": 0, "promptImage": media.media()["image"]}
    with pytest.raises(runwayml.BadRequestError) as caught:
        await client.post("/v1/robotics_action_to_video", cast_to=object, body=body)
    assert isinstance(caught.value.body, dict)
    note("POST /v1/robotics_action_to_video", "python", "refused", caught.value.body["issues"][0]["message"])


async def test_waits(client: AsyncRunwayML, address: str) -> None:
    """All at once: the SDK sleeps six seconds before it looks."""

    async def succeeds() -> None:
        task = await (await client.sound_effect.create(**SOUND, prompt_text="x")).wait_for_task_output()
        assert task.status == "SUCCEEDED"
        async with httpx.AsyncClient(follow_redirects=False) as bare:
            answer = await bare.get(task.output[0])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")

    async def fails() -> None:
        with pytest.raises(runwayml.TaskFailedError) as caught:
            await (await client.sound_effect.create(**SOUND, prompt_text="it fails")).wait_for_task_output()
        failed: Any = caught.value.task_details
        assert failed.failure_code == "INPUT_PREPROCESSING.TEST"

    async def takes_too_long() -> None:
        created = await client.text_to_video.create(**CLIP, prompt_text="it stays")
        with pytest.raises(runwayml.TaskTimeoutError):
            await created.wait_for_task_output(timeout=4)
        await client.tasks.delete(created.id)

    async def is_cancelled() -> None:
        created = await client.text_to_video.create(**CLIP, prompt_text="it stays too")
        task = await client.tasks.retrieve(created.id)
        waiting = asyncio.create_task(task.wait_for_task_output())
        await asyncio.sleep(0.1)
        await client.tasks.delete(created.id)
        with pytest.raises(runwayml.NotFoundError):
            await waiting

    def succeeds_without_asyncio() -> None:
        with RunwayML(api_key="k", base_url=address, _strict_response_validation=True) as plain:
            task = plain.sound_effect.create(**SOUND, prompt_text="x").wait_for_task_output()
        assert task.status == "SUCCEEDED"

    await asyncio.gather(
        succeeds(), fails(), takes_too_long(), is_cancelled(), asyncio.to_thread(succeeds_without_asyncio)
    )


async def test_every_state_has_its_members(client: AsyncRunwayML) -> None:
    """One clip runs at a time, two have a place, the others are throttled."""
    ids = [(await client.text_to_video.create(**CLIP, prompt_text="stays")).id for _ in range(4)]
    seen: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while not {"RUNNING", "PENDING", "THROTTLED"} <= seen.keys() or seen["RUNNING"].progress == 0:
            for id in ids:
                task = await client.tasks.retrieve(id)
                seen[task.status] = task
            await asyncio.sleep(0.02)
    assert 0 < seen["RUNNING"].progress <= 0.5
    assert all(task.estimated_cost.credits == 24 for task in seen.values())
    assert all(task.created_at.utcoffset().total_seconds() == 0 for task in seen.values())
    for id in ids:
        await client.tasks.delete(id)
        with pytest.raises(runwayml.NotFoundError):
            await client.tasks.retrieve(id)
        with pytest.raises(runwayml.NotFoundError):
            await client.tasks.delete(id)
    failed = await ended(client, (await client.text_to_image.create(**STILL, prompt_text="fails")).id)
    assert (failed.status, failed.failure, failed.cost.credits) == ("FAILED", "It was told to fail.", 0)
    note("GET /v1/tasks/{id}", "python", "works", "every status; output is fetched without redirect")
    note("DELETE /v1/tasks/{id}", "python", "works", "cancels, or deletes with the outputs; then 404")


async def test_uploads(client: AsyncRunwayML, tmp_path: Path) -> None:
    paths = media.write(tmp_path)
    picture = await client.uploads.create_ephemeral(file=paths["image"])
    film = await client.uploads.create_ephemeral(file=("cut.mp4", paths["video"].read_bytes()), file_metadata="{}")
    assert picture.uri.startswith("runway://")
    for _ in range(2):  # any number of times
        created = await client.image_to_video.create(model="gen4_turbo", prompt_image=picture.uri, ratio="1280:720")
        task = await ended(client, created.id)
        assert task.metadata["inputs"] == ["first"]
    await client.video_to_video.create(model="aleph2", video_uri=film.uri, prompt_text="Night")
    with pytest.raises(runwayml.BadRequestError) as caught:
        await client.video_to_video.create(model="aleph2", video_uri=picture.uri, prompt_text="Night")
    assert caught.value.body["issues"][0]["path"] == ["videoUri"]  # type: ignore[index]
    with pytest.raises(runwayml.APIStatusError, match="400"):
        await client.uploads.create_ephemeral(file=("small.png", b"tiny"))
    note("POST /v1/uploads", "python", "works", "file, bytes and metadata; 512 bytes to 200 MB")


async def test_errors_are_of_their_classes(client: AsyncRunwayML) -> None:
    wrong: dict[str, Any] = {**CLIP, "duration": 99, "prompt_text": ""}
    with pytest.raises(runwayml.BadRequestError) as caught:
        await client.text_to_video.create(**wrong)
    body: Any = caught.value.body
    assert body["error"] == "Validation of body failed"
    assert [(issue["code"], issue["path"]) for issue in body["issues"]] == [
        ("too_small", ["promptText"]),
        ("too_big", ["duration"]),
    ]
    with pytest.raises(runwayml.NotFoundError):
        await client.tasks.retrieve(UNKNOWN)
    with pytest.raises(runwayml.NotFoundError):
        await client.get("/v1/nowhere", cast_to=object)
    with pytest.raises(runwayml.APIStatusError, match="405"):
        await client.put("/v1/text_to_video", cast_to=object)
    with pytest.raises(runwayml.BadRequestError, match="X-Runway-Version"):
        await client.with_options(default_headers={"X-Runway-Version": "1"}).tasks.retrieve(UNKNOWN)


@pytest.mark.parametrize("host", ["http://example.com", "https://127.0.0.1", "https://[::1]", "https://2130706433"])
async def test_private_places_are_not_fetched_from(client: AsyncRunwayML, host: str) -> None:
    with pytest.raises(runwayml.BadRequestError) as caught:
        await client.image_to_video.create(model="gen4_turbo", prompt_image=f"{host}/lake.png", ratio="1280:720")
    body: Any = caught.value.body
    assert body["issues"][0]["path"] == ["promptImage"]


async def test_a_blind_retry_makes_no_second_task(client: AsyncRunwayML) -> None:
    prompt = hashlib.sha256(b"only here").hexdigest()
    ids = [
        (
            await client.text_to_image.create(
                **STILL, prompt_text=prompt, extra_headers={"x-stainless-retry-count": tries}
            )
        ).id
        for tries in ("0", "1", "0")
    ]
    assert ids[0] == ids[1] != ids[2]
