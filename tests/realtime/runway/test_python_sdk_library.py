"""The official Python SDK over everything that is kept, composed or routed, strictly, against a real server process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
import runwayml
from runwayml import AsyncRunwayML

from tests.realtime.runway import media
from tests.realtime.runway.routes import note
from tests.realtime.serve_tasks import task_server

UNKNOWN = "00000000-0000-4000-8000-00000000dead"
SPEAKER: Any = {"type": "runway-live-preset", "preset_id": "maya"}
WORKFLOW = {"name": "Lakes", "nodes": [{"id": "a", "kind": "still", "params": {"prompt": "a lake"}}]}
ROUTER: dict[str, Any] = {"name": "Films", "slug": "films", "settings": {"schemaVersion": 1, "optimizeFor": "cost"}}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("data")
    (data / "workflows").mkdir()
    (data / "workflows" / "lakes.json").write_text(json.dumps(WORKFLOW))
    with task_server(data, kinds="tests.realtime.runway.contract_jobs") as server:
        yield server.url


@pytest_asyncio.fixture
async def client(address: str) -> AsyncIterator[AsyncRunwayML]:
    async with AsyncRunwayML(
        api_key="key_test", base_url=address, max_retries=0, _strict_response_validation=True
    ) as found:
        yield found


def works(*routes: str, detail: str = "") -> None:
    for route in routes:
        method, _, path = route.partition(" ")
        note(f"{method} /v1/{path}", "python", "works", detail)


async def test_documents_and_pages(client: AsyncRunwayML) -> None:
    made = [await client.documents.create(name=f"Page {n}", content="words " * (n + 1)) for n in range(5)]
    pages: dict[str, Any] = {"limit": 2, "sort": "createdAt", "order": "desc"}
    first = await client.documents.list(**pages)
    assert first.has_next_page()
    listed = [document async for document in client.documents.list(**pages)]
    assert [document.id for document in listed] == [document.id for document in reversed(made)]
    assert (await client.documents.retrieve(made[0].id)).content == "words "
    await client.documents.update(made[0].id, name="Another")
    assert (await client.documents.retrieve(made[0].id)).name == "Another"
    await client.documents.delete(made[0].id)
    with pytest.raises(runwayml.NotFoundError):
        await client.documents.retrieve(made[0].id)
    works("POST documents", "GET documents", detail="in pages")
    works("GET documents/{id}", "PATCH documents/{id}", "DELETE documents/{id}")


async def ready(fetch: Any, id: str) -> Any:
    async with asyncio.timeout(20.0):
        while True:
            found = await fetch(id)
            if found.status not in ("PROCESSING", "PENDING", "THROTTLED", "RUNNING"):
                return found
            await asyncio.sleep(0.05)


async def test_avatars(client: AsyncRunwayML) -> None:
    made = await client.avatars.create(
        name="Ada", personality="Kind.", reference_image=media.media()["image"], voice=SPEAKER
    )
    found = await ready(client.avatars.retrieve, made.id)
    assert found.status == "READY"
    changed = await client.avatars.update(made.id, name="Grace", start_script=None)
    assert changed.name == "Grace"
    assert [avatar.id async for avatar in client.avatars.list(limit=50)] == [made.id]
    today = datetime.now(UTC)
    usage = await client.avatars.get_usage(start_date=today - timedelta(days=1), end_date=today + timedelta(days=1))
    assert usage.total_sessions == 0
    await client.avatars.delete(made.id)
    works("POST avatars", "GET avatars", "GET avatars/{id}", "PATCH avatars/{id}", "DELETE avatars/{id}")
    works("GET avatar_usage")


async def test_voices(client: AsyncRunwayML) -> None:
    made = await client.voices.create(name="Deep", from_={"type": "audio", "audio": media.media()["audio"]})
    found = await ready(client.voices.retrieve, made.id)
    assert found.status in ("READY", "FAILED")
    changed = await client.voices.update(made.id, description="Very deep")
    assert changed.description == "Very deep"
    assert [voice.id async for voice in client.voices.list(limit=50)] == [made.id]
    preview = await client.voices.preview(prompt="A calm voice with a smile in it", model="eleven_ttv_v3")
    assert preview.url.startswith("http")
    await client.voices.delete(made.id)
    works("POST voices", "GET voices", "GET voices/{id}", "PATCH voices/{id}", "DELETE voices/{id}")
    works("POST voices/preview")


async def test_realtime_sessions_and_conversations(client: AsyncRunwayML, address: str) -> None:
    made = await client.realtime_sessions.create(
        model="gwm1_avatars", avatar={"type": "runway-preset", "preset_id": "influencer"}, max_duration=600
    )
    found = await client.realtime_sessions.retrieve(made.id)
    listed = [c async for c in client.avatar_conversations.list(limit=20)]
    assert [conversation.id for conversation in listed] == [made.id]
    assert (await client.avatar_conversations.retrieve(made.id)).id == made.id
    async with httpx.AsyncClient() as browser:
        consumed = await browser.post(
            f"{address}/v1/realtime_sessions/{made.id}/consume",
            headers={"Authorization": f"Bearer {getattr(found, 'session_key', 'none')}"},
        )
    assert consumed.status_code in (200, 400, 401, 404, 409), consumed.text
    backend = ""
    try:
        await client.post(f"/v1/realtime_sessions/{made.id}/connect_backend", cast_to=object)
    except (runwayml.BadRequestError, runwayml.NotFoundError, runwayml.ConflictError) as error:
        backend = str(error.body)
    await client.realtime_sessions.delete(made.id)
    works("POST realtime_sessions", "GET realtime_sessions/{id}", "DELETE realtime_sessions/{id}")
    works("GET avatar_conversations", "GET avatar_conversations/{id}")
    note_outcome("POST /v1/realtime_sessions/{id}/consume", consumed.status_code == 200, consumed.text)
    note_outcome("POST /v1/realtime_sessions/{id}/connect_backend", not backend, backend)
    await client.avatar_conversations.delete(made.id)
    works("DELETE avatar_conversations/{id}")


def note_outcome(route: str, well: bool, text: str) -> None:
    note(route, "python", "works" if well else "refused", "" if well else text[:200])


async def test_routers_and_generate(client: AsyncRunwayML) -> None:
    made = await client.routers.create(**ROUTER)
    changed = await client.routers.update(made.id, name="Movies")
    assert (changed.id, changed.name) == (made.id, "Movies")
    assert (await client.routers.retrieve(made.id)).slug == "films"
    assert [router.id async for router in client.routers.list(limit=50)] == [made.id]
    video: Any = await client.generate.video.create(
        config_id="films", input={"prompt_text": "A lake", "duration": 4, "aspect_ratio": "16:9", "resolution": "720p"}
    )
    image: Any = await client.generate.image.create(config_id="films", input={"prompt_text": "A lake"})
    audio: Any = await client.generate.audio.create(
        config_id="films", input={"type": "speech", "prompt_text": "Hello."}
    )
    for reply in (video, image, audio):
        assert reply.routing.model
        assert (await client.tasks.retrieve(reply.id)).id == reply.id
    with pytest.raises(runwayml.NotFoundError) as caught:
        await client.generate.image.create(config_id="nowhere", input={"prompt_text": "A lake"})
    assert caught.value.body["code"] == "router_config_not_found"  # type: ignore[index]
    seen = [request.status async for request in client.routers.list_requests(made.id, limit=50)]
    assert seen.count("routed") == 3
    await client.routers.delete(made.id)
    works("POST routers", "GET routers", "GET routers/{id}", "PATCH routers/{id}", "DELETE routers/{id}")
    works("GET routers/{id}/requests", "POST generate/video", "POST generate/image", "POST generate/audio")


REFUSED = {"ad_localization", "product_swap", "product_ugc"}  # no model of a plain install can do them
RECIPES: dict[str, dict[str, Any]] = {
    "ad_localization": {"reference_image": "IMG", "target_language": "de"},
    "marketing_stock_image": {"prompt": "A desk"},
    "multi_shot_video": {"mode": "auto", "prompt": "A walk by the sea"},
    "product_ad": {"product_images": ["IMG"]},
    "product_campaign_image": {"image": "IMG", "prompt": "On a beach"},
    "product_swap": {"reference_video": "VID", "original_product_image": "IMG", "new_product_images": ["IMG"]},
    "product_ugc": {"character_image": "IMG", "product_image": "IMG"},
}


@pytest.mark.parametrize("recipe", list(RECIPES))
async def test_recipes(client: AsyncRunwayML, recipe: str) -> None:
    uris = {"IMG": {"uri": media.media()["image"]}, "VID": {"uri": media.data_uri("video/mp4", media.film(5.0))}}

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return uris.get(value, value)

    body = {name: filled(value) for name, value in RECIPES[recipe].items()}
    route = f"POST /v1/recipes/{recipe}"
    refused: Any
    try:
        made = await getattr(client.recipes, recipe)(version="2026-06", **body)
    except runwayml.BadRequestError as error:
        refused = error.body
    else:
        task = await ready(client.tasks.retrieve, made.id)
        assert task.status == "SUCCEEDED", task
        note(route, "python", "works", "a workflow of this server's own jobs")
        return
    assert recipe in REFUSED
    assert "issues" not in refused or refused["issues"][0]["path"] == ["model"], refused
    note(route, "python", "refused", refused["error"])


async def test_workflows(client: AsyncRunwayML) -> None:
    found = await client.workflows.list()
    assert isinstance(found.data, list)
    works("GET workflows")
    id = found.data[0].versions[0].id
    assert (await client.workflows.retrieve(id)).id == id
    run = await client.workflows.run(id, node_outputs={})
    done = await ready(client.workflow_invocations.retrieve, run.id)
    assert (done.id, done.status, list(done.output)) == (run.id, "SUCCEEDED", ["a"])
    works("GET workflows/{id}", "POST workflows/{id}", "GET workflow_invocations/{id}")


async def test_organization(client: AsyncRunwayML) -> None:
    found = await client.organization.retrieve()
    assert found.credit_balance >= 0
    usage = await client.organization.retrieve_usage()
    assert isinstance(usage.results, list)
    now = datetime.now(UTC)
    span: dict[str, Any] = {"from_": now - timedelta(days=1), "to": now + timedelta(days=1)}
    rows = [row async for row in client.organization.webapp.list_usage(limit=50, **span)]
    events = [event async for event in client.organization.webapp.audit_logs.list(limit=50)]
    assert events, "what the other tests did is there"
    assert (await client.organization.webapp.audit_logs.retrieve(events[0].event_id)).event_id == events[0].event_id
    assert isinstance(rows, list)
    works("GET organization", "POST organization/usage", "GET organization/webapp/usage")
    works("GET organization/webapp/audit_logs", "GET organization/webapp/audit_logs/{id}")
