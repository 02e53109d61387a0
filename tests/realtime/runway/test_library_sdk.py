"""The official SDK, unmodified and strict about every reply, over everything that is kept, routed or composed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import runwayml
from runwayml import AsyncRunwayML

from tests.realtime.runway.library_doubles import PICTURE, SOUND, House, KindRooms, house
from worldstream.realtime.runway.ledgers import Books
from worldstream.realtime.workflows.graph import read_graph
from worldstream.realtime.workflows.shelf import Version, Workflow, Workflows

NOBODY = "3f2a8f2e-0000-4000-8000-000000000000"
WORKFLOW = "00000000-0000-4000-8000-000000000007"


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, KindRooms()) as found:
        yield found


def sdk(home: House, key: str = "key_one") -> AsyncRunwayML:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(home.app, raise_app_exceptions=False))
    home.clients.append(http)
    return AsyncRunwayML(
        api_key=key,
        base_url="http://worldstream.test",
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_documents_avatars_and_voices(home: House) -> None:
    client = sdk(home)
    documents = [await client.documents.create(name=f"Menu {n}", content="Soup.") for n in range(3)]
    assert (await client.documents.retrieve(documents[0].id)).content == "Soup."
    await client.documents.update(documents[0].id, content="Bread.")
    assert (await client.documents.retrieve(documents[0].id)).content == "Bread."
    listed = [each.id async for each in client.documents.list(limit=2, sort="createdAt", order="asc")]
    assert sorted(listed) == sorted(each.id for each in documents)  # two pages

    spoken = await client.voices.create(
        name="Deep", from_={"type": "text", "prompt": "A deep voice of an old man.", "model": "eleven_ttv_v3"}
    )
    recorded = await client.voices.create(name="Me", from_={"type": "audio", "audio": SOUND}, description="Mine.")
    assert (await client.voices.retrieve(spoken.id)).status == "PROCESSING"
    avatar = await client.avatars.create(
        name="Ada",
        reference_image=PICTURE,
        personality="Curious.",
        voice={"type": "custom", "id": spoken.id},
        document_ids=[documents[0].id],
    )
    assert avatar.status == "PROCESSING"
    with pytest.raises(runwayml.ConflictError):
        await client.avatars.update(avatar.id, name="Eve")
    await home.settle()
    assert {each.status async for each in client.voices.list(limit=1)} == {"READY"}
    assert (await client.voices.update(recorded.id, description=None)).description is None
    ready = await client.avatars.retrieve(avatar.id)
    assert ready.status == "READY"
    assert ready.created_at == datetime(2025, 11, 21, 12, tzinfo=UTC)
    assert (await client.avatars.update(avatar.id, name="Eve", start_script=None)).name == "Eve"
    assert [each.name async for each in client.avatars.list(limit=10)] == ["Eve"]
    assert (await client.documents.retrieve(documents[0].id)).used_by[0].name == "Eve"
    usage = await client.avatars.get_usage(
        start_date=datetime(2025, 11, 20, 1, 2, 3, 4, UTC), end_date=datetime(2025, 11, 21, tzinfo=UTC)
    )
    assert (usage.total_sessions, len(usage.by_day)) == (0, 1)
    await client.voices.delete(spoken.id)
    deleted = (await client.avatars.retrieve(avatar.id)).voice
    assert deleted.type == "custom"
    assert deleted.deleted
    for remove, id in ((client.avatars.delete, avatar.id), (client.documents.delete, documents[0].id)):
        await remove(id)
        with pytest.raises(runwayml.NotFoundError):
            await remove(id)
    with pytest.raises(runwayml.NotFoundError):
        await sdk(home, "key_two").voices.retrieve(recorded.id)


async def test_a_preview(home: House) -> None:
    home.board.quick = True
    create = type(home.board).create

    async def spoken(new: Any) -> Any:
        task = await create(home.board, new)
        home.board.now(task.id, "SUCCEEDED", facts={"seconds": 2.5})
        return home.board.tasks[task.id]

    home.board.create = spoken  # type: ignore[method-assign]
    found = await sdk(home).voices.preview(
        prompt="A calm young woman from Glasgow.", model="eleven_multilingual_ttv_v2"
    )
    assert found.duration_secs == 2.5


async def test_sessions_and_conversations(home: House) -> None:
    client = sdk(home)
    made = await client.realtime_sessions.create(
        model="gwm1_avatars",
        avatar={"type": "runway-preset", "preset_id": "influencer"},
        max_duration=600,
        tools=[{"type": "client_event", "name": "show", "description": "Show it."}],
    )
    assert (await client.realtime_sessions.retrieve(made.id)).status == "NOT_READY"
    await home.upkeep.tick()
    assert (await client.realtime_sessions.retrieve(made.id)).status == "READY"
    await home.talks.began(made.id)
    assert (await client.realtime_sessions.retrieve(made.id)).status == "RUNNING"
    await home.talks.said(made.id, {"role": "assistant", "content": "Hi.", "timestamp": None})
    assert (await client.avatar_conversations.retrieve(made.id)).status == "in_progress"
    home.time[0] += 600
    over = await client.realtime_sessions.retrieve(made.id)
    assert over.status == "COMPLETED"
    assert over.duration == 600
    talk = await client.avatar_conversations.retrieve(made.id)
    assert talk.status == "ended"
    assert (talk.max_duration, talk.transcript[0].content) == (600, "Hi.")

    failing = await client.realtime_sessions.create(
        model="gwm1_avatars", avatar={"type": "runway-preset", "preset_id": "cat-character"}
    )
    await home.talks.failed(failing.id, "INTERNAL", "The card has gone.")
    assert (await client.realtime_sessions.retrieve(failing.id)).status == "FAILED"
    assert (await client.avatar_conversations.retrieve(failing.id)).status == "failed"
    gone = await client.realtime_sessions.create(
        model="gwm1_avatars", avatar={"type": "runway-preset", "preset_id": "cat-character"}
    )
    await client.realtime_sessions.delete(gone.id)
    assert (await client.realtime_sessions.retrieve(gone.id)).status == "CANCELLED"
    start = datetime(2025, 11, 21, 12, 0, 0, 1, UTC)
    listed = [each.id async for each in client.avatar_conversations.list(limit=1, start_date=start)]
    assert sorted(listed) == sorted([failing.id, gone.id])
    await client.avatar_conversations.delete(made.id)
    with pytest.raises(runwayml.NotFoundError):
        await client.avatar_conversations.retrieve(made.id)


async def test_routers_and_generation(home: House) -> None:
    client = sdk(home)
    home.board.quick = True
    router = await client.routers.create(
        slug="films",
        settings={
            "models": {"mode": "allow_new_except", "ids": ["gen4_turbo"]},
            "max_credits_per_generation": {"video": 90},
        },
    )
    assert (router.name, router.version, router.settings.schema_version) == ("films", 1, 1)
    updated = await client.routers.update(
        router.id, settings={"max_credits_per_generation": None}, description="Films."
    )
    assert (updated.version, updated.settings.max_credits_per_generation) == (2, None)
    assert [each.slug async for each in client.routers.list(limit=1)] == ["films"]
    assert (await client.routers.retrieve(router.id)).description == "Films."
    video: Any = await client.generate.video.create(
        config_id="films",
        input={"prompt_text": "A boat.", "duration": 5, "reference_images": [{"uri": PICTURE, "role": "first"}]},
    )
    assert (video.routing.model, video.routing.resolved_input.ratio) == ("gen4.5", "1280:720")
    image: Any = await client.generate.image.create(
        config_id="films", input={"prompt_text": "A boat.", "aspect_ratio": "1:1"}
    )
    assert image.routing.resolved_input.aspect_ratio == "1:1"
    audio: Any = await client.generate.audio.create(
        config_id="films", input={"type": "speech", "prompt_text": "Hello."}
    )
    assert audio.routing.resolved_input.voice == "default"
    heard: Any = await client.generate.video.create(
        config_id="films", input={"prompt_text": "A boat.", "audio": True, "duration": 4}
    )
    assert heard.routing.model != "gen4.5"
    with pytest.raises(runwayml.BadRequestError) as refused:
        await client.generate.video.create(
            config_id="films", input={"prompt_text": "A boat.", "reference_audio": [{"uri": PICTURE}]}
        )
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["code"] == "no_eligible_model"
    with pytest.raises(runwayml.NotFoundError):
        await client.generate.video.create(config_id="nobody", input={"prompt_text": "A boat."})
    log = [each.status async for each in client.routers.list_requests(router.id, limit=2)]
    assert sorted(log) == ["no_eligible_model", "routed", "routed", "routed", "routed"]
    await client.routers.delete(router.id)
    with pytest.raises(runwayml.NotFoundError):
        await client.routers.retrieve(router.id)


async def test_workflows_and_recipes(home: House) -> None:
    graph = read_graph({"nodes": [
        {"id": "words", "kind": "primitive", "value": "a boat"},
        {"id": "a", "kind": "still", "params": {"prompt": {"from": "words"}}},
        {"id": "b", "kind": "still", "params": {"prompt": {"from": "words"}}},
    ]})  # fmt: skip
    home.inner.state.workflows = Workflows([Workflow("Boats", "Two.", (Version(WORKFLOW, 1, graph, 0.0, 0.0),))])
    client = sdk(home)
    listed = await client.workflows.list()
    assert (listed.data[0].name, listed.data[0].versions[0].id) == ("Boats", WORKFLOW)
    assert len((await client.workflows.retrieve(WORKFLOW)).graph.edges) == 2
    plain = await client.workflows.run(WORKFLOW)
    given = await client.workflows.run(
        WORKFLOW, node_outputs={"words": {"value": {"type": "primitive", "value": "a ship"}}}
    )
    assert (await client.workflow_invocations.retrieve(plain.id)).status == "PENDING"
    await home.upkeep.tick()
    assert {str(new.params["prompt"]) for new in home.board.created} == {"a boat", "a ship"}
    first = next(task.id for task in home.board.tasks.values() if task.parent == plain.id)
    home.board.now(first, "FAILED", failure="No.", failure_code="SAFETY.INPUT")
    await home.upkeep.tick()
    running = await client.workflow_invocations.retrieve(plain.id)
    assert running.status == "RUNNING"
    assert running.node_errors is not None
    await home.settle()
    done = await client.workflow_invocations.retrieve(plain.id)
    assert done.status == "SUCCEEDED"
    assert list(done.output) == ["b"]
    assert (await client.workflow_invocations.retrieve(given.id)).status == "SUCCEEDED"
    with pytest.raises(runwayml.NotFoundError):
        await client.workflows.run(NOBODY)
    lost = await client.workflows.run(WORKFLOW)
    await home.upkeep.tick()
    home.board.tasks.clear()
    await home.upkeep.tick()
    assert (await client.workflow_invocations.retrieve(lost.id)).status == "FAILED"

    shots: Any = await client.recipes.multi_shot_video(version="2026-06", mode="auto", prompt="A fox wakes. It runs.")
    assert shots.estimated_cost.credits == 120 + 10
    await client.recipes.marketing_stock_image(version="unsafe-latest", prompt="A kettle.", output_count=1)
    await client.recipes.product_ad(version="2026-07", product_images=[{"uri": PICTURE}], duration=4)
    await client.recipes.product_campaign_image(version="2026-06", image={"uri": PICTURE}, prompt="Bright.")
    with pytest.raises(runwayml.BadRequestError, match=r"aliases\.json"):
        await client.recipes.product_ugc(
            version="2026-06", character_image={"uri": PICTURE}, product_image={"uri": PICTURE}
        )
    with pytest.raises(runwayml.BadRequestError):
        await client.recipes.ad_localization(version="2026-06", reference_image={"uri": PICTURE}, target_language="ja")
    with pytest.raises(runwayml.BadRequestError):
        await client.recipes.product_swap(
            version="2026-06",
            reference_video={"uri": "https://films.example/a.mp4"},
            original_product_image={"uri": PICTURE},
            new_product_images=[{"uri": PICTURE, "view": "front"}],
        )


async def test_the_organization(home: House) -> None:
    client = sdk(home)
    assert (await client.organization.retrieve()).credit_balance > 0
    home.board.quick = True
    await client.recipes.marketing_stock_image(version="2026-06", prompt="A kettle.")
    (task,) = home.board.tasks
    home.board.now(task, "SUCCEEDED", created_s=home.time[0] - 86_400)
    used = await client.organization.retrieve_usage(start_date="2025-11-20", before_date="2025-11-22")
    assert (used.models, used.results[0].used_credits[0].amount) == (["marketing_stock_image"], 32)
    assert (await client.organization.retrieve_usage()).results[-1].date.isoformat() == "2025-11-20"
    day = datetime(2025, 11, 20, tzinfo=UTC)
    charges = client.organization.webapp.list_usage(from_=day, to=datetime(2025, 11, 22, tzinfo=UTC), limit=5)
    assert [each.tool async for each in charges] == ["marketing_stock_image"]
    assert [each async for each in client.organization.webapp.audit_logs.list(limit=5)] == []

    home.inner.state.ledger = Books(home.services)
    await home.services.database.write(lambda c: note(c, home.time[0]))
    events = [each async for each in client.organization.webapp.audit_logs.list(limit=5)]
    assert [each.action for each in events] == ["AssetCreated"]
    event = await client.organization.webapp.audit_logs.retrieve(events[0].event_id)
    assert event.metadata.operation == "document.create"
    with pytest.raises(runwayml.NotFoundError):
        await client.organization.webapp.audit_logs.retrieve("3f2a8f2e-0000-4000-8000-000000000001")


def note(connection: Any, at_s: float) -> None:
    from worldstream.realtime.store import governance

    row = governance.AuditRow(NOBODY, at_s, NOBODY, "studio", "document.create", "document", NOBODY)
    governance.note(connection, row)
