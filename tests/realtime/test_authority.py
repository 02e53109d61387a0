"""Who may do what, by the table of all routes: no route is without a caller, but for those that are named here."""

from __future__ import annotations

import asyncio
import io
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount

from tests.realtime.fake_world import FakeWorld
from tests.realtime.queues import ROOT
from tests.realtime.runway.media import picture
from worldstream.realtime.config import ServerConfig, TaskConfig
from worldstream.realtime.governance import keys
from worldstream.realtime.offline import Offline
from worldstream.realtime.runway.asking import scope_of
from worldstream.realtime.serve import build_app

NOBODY = "00000000-0000-4000-8000-0000000000aa"
PERMITTED = {  # of the contract: what stands in for a key
    ("POST", "/uploads/{id}"): "fields that the server signed",
    ("POST", "/realtime_sessions/{id}/consume"): "the session's own key, once",
    ("OPTIONS", "/realtime_sessions/{id}/consume"): "says nothing but that browsers may ask",
    ("GET", "/openapi.json"): "the description of this API, the same for everybody",
}
OPEN = {  # of the live world, which visitors enter without a key; and what is the same for everybody
    "/", "/app", "/studio", "/healthz", "/metrics", "/api/world", "/api/status", "/api/offers", "/api/offer",
    "/api/image", "/api/socket", "/v1/outputs/{key:path}", "/api/sessions",
    "/api/sessions/{id}/log", "/api/sessions/{id}/share",
}  # fmt: skip
SHARED = {"/workflows/{id}", "/organization/webapp/audit_logs/{eventId}"}  # of all keys: one organization


@dataclass
class Keyed:
    """A server with three keys, and what each was told about its secret."""

    app: FastAPI
    offline: Offline
    secrets: dict[str, str]

    @property
    def contract(self) -> FastAPI:
        found = next(r.app for r in self.app.routes if isinstance(r, Mount) and r.path == "/v1")
        assert isinstance(found, FastAPI)
        return found

    def client(self, name: str = "") -> httpx.AsyncClient:
        headers = {"X-Runway-Version": "2024-11-06"}
        if name:
            headers["Authorization"] = f"Bearer {self.secrets.get(name, name)}"
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8800", headers=headers, timeout=20.0)


@pytest_asyncio.fixture
async def keyed(config: ServerConfig) -> AsyncIterator[Keyed]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / ".links"), str(ROOT)])
    offline = Offline(replace(config, tasks=TaskConfig(heavy=0, light=0)))
    app = build_app(config, FakeWorld(), offline)
    async with app.router.lifespan_context(app):
        secrets = {}
        for name in ("owner", "stranger", "gone"):
            secrets[name], _ = await asyncio.to_thread(
                offline.database.now, lambda c, name=name: keys.make(c, time.time(), name)
            )
        await asyncio.to_thread(offline.database.now, lambda c: keys.revoke(c, "gone", time.time()))
        for scope in keys.SCOPES:
            secrets[scope], _ = await asyncio.to_thread(
                offline.database.now, lambda c, scope=scope: keys.make(c, time.time(), scope, scopes=[scope])
            )
        yield Keyed(app, offline, secrets)


def contract_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods or ()):
                yield method, route.path
        else:
            raise AssertionError(f"{route} is not a route of the contract's class")


def path_with(path: str, id: str) -> str:
    return "/v1" + re.sub(r"\{\w+\}", id, path)


async def test_every_route_of_the_contract_asks_who_it_is(keyed: Keyed) -> None:
    routes = list(contract_routes(keyed.contract))
    assert set(PERMITTED) <= set(routes)
    assert len(routes) >= 69
    async with keyed.client() as nobody, keyed.client("gone") as gone, keyed.client("key_made_up") as forger:
        for method, path in routes:
            if (method, path) in PERMITTED:
                continue
            for client in (nobody, gone, forger):
                answer = await client.request(method, path_with(path, NOBODY), content=b"not even JSON")
                assert (answer.status_code, list(answer.json())) == (401, ["error"]), (method, path, answer.text)


async def test_every_route_of_the_contract_asks_for_its_scope(keyed: Keyed) -> None:
    for method, path in contract_routes(keyed.contract):
        if (method, path) in PERMITTED:
            continue
        needed = scope_of(path, method)
        assert needed in keys.SCOPES, path
        other = next(scope for scope in keys.SCOPES if scope != needed)
        async with keyed.client(other) as client:
            answer = await client.request(method, path_with(path, NOBODY), content=b"{}")
            assert (answer.status_code, needed in answer.text) == (403, True), (method, path, answer.text)
        async with keyed.client(needed) as client:
            answer = await client.request(method, path_with(path, NOBODY), content=b"{}")
            assert answer.status_code in (200, 400, 404), (method, path, answer.text)


async def test_every_other_route_is_open_on_purpose(keyed: Keyed) -> None:
    asks = []
    for route in keyed.app.routes:
        path = getattr(route, "path", "")
        if path in OPEN or (isinstance(route, Mount) and path == "/v1"):
            continue
        assert isinstance(route, APIRoute), path
        asks += [(method, path) for method in route.methods or ()]
    assert len(asks) >= 6
    async with keyed.client() as nobody, keyed.client("gone") as gone:
        for method, path in asks:
            for client in (nobody, gone):
                answer = await client.request(method, path.format(id=NOBODY, number=0), json={"kind": "sound"})
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_refused"), (method, path)


async def test_the_page_needs_the_scopes_that_the_contract_needs(keyed: Keyed) -> None:
    async with keyed.client("generate") as maker, keyed.client("tasks") as looker:
        made = await maker.post("/api/tasks", json={"kind": "sound", "params": {"prompt": "rain"}})
        assert made.status_code == 201
        assert (await looker.get("/api/tasks")).json()["tasks"] == []
        for answer in (await maker.get("/api/tasks"), await looker.post("/api/tasks", json={"kind": "sound"})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_too_narrow")


async def made(client: httpx.AsyncClient) -> dict[str, str]:
    """Something of everything; the id of each by the beginning of its path."""

    async def post(path: str, **body: Any) -> dict[str, Any]:
        answer = await client.post(path, json=body)
        assert answer.status_code in (200, 201), (path, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    task = await post("/v1/sound_effect", model="eleven_text_to_sound_v2", promptText="rain")
    document = await post("/v1/documents", name="Secret", content="The key lies under the mat.")
    described = {"type": "text", "prompt": "A calm old voice, as of a sailor", "model": "eleven_ttv_v3"}
    voice = await post("/v1/voices", name="V", **{"from": described})
    upload = await post("/v1/uploads", filename="x.png", type="ephemeral")
    sent = await client.post(
        upload["uploadUrl"], data=upload["fields"], files={"file": ("x.png", io.BytesIO(picture()), "image/png")}
    )
    assert sent.status_code == 204, sent.text
    avatar = await post(
        "/v1/avatars", name="A", referenceImage=upload["runwayUri"], personality="Kind.",
        voice={"type": "runway-live-preset", "presetId": "victoria"},
    )  # fmt: skip
    preset = {"type": "runway-preset", "presetId": "influencer"}
    session = await post("/v1/realtime_sessions", model="gwm1_avatars", avatar=preset)
    router = await post("/v1/routers", slug="mine")
    return {
        "/tasks": task["id"], "/documents": document["id"], "/voices": voice["id"], "/avatars": avatar["id"],
        "/avatar_conversations": session["id"], "/realtime_sessions": session["id"], "/routers": router["id"],
        "/workflow_invocations": NOBODY, "upload": upload["runwayUri"],
    }  # fmt: skip


async def test_what_belongs_to_another_key_is_not_there(keyed: Keyed) -> None:
    bodies: dict[str, Any] = {"PATCH": {"name": "Mine now"}}
    async with keyed.client("owner") as owner, keyed.client("stranger") as stranger:
        theirs = await made(owner)
        for method, path in contract_routes(keyed.contract):
            if "{" not in path or (method, path) in PERMITTED or path in SHARED:
                continue
            id = theirs["/" + path.split("/")[1]]
            answer = await stranger.request(method, path_with(path, id), json=bodies.get(method, {}))
            assert (answer.status_code, list(answer.json())) == (404, ["error"]), (method, path, answer.text)
        for path in ("documents", "voices", "avatars", "routers", "avatar_conversations"):
            assert (await stranger.get(f"/v1/{path}")).json()["data"] == [], path
            assert len((await owner.get(f"/v1/{path}")).json()["data"]) == 1, path
        for path in ("tasks", "documents", "voices", "avatars", "routers", "realtime_sessions"):
            assert (await owner.get(f"/v1/{path}/{theirs['/' + path]}")).status_code == 200, path


async def test_what_belongs_to_another_key_cannot_be_named(keyed: Keyed) -> None:
    async with keyed.client("owner") as owner, keyed.client("stranger") as stranger:
        theirs = await made(owner)
        preset = {"type": "runway-live-preset", "presetId": "victoria"}
        avatar = {"name": "B", "referenceImage": theirs["upload"], "personality": "Curious.", "voice": preset}
        own = {"type": "custom", "avatarId": theirs["/avatars"]}
        for path, body in (
            ("/v1/avatars", avatar),
            ("/v1/avatars", avatar | {"documentIds": [theirs["/documents"]]}),
            ("/v1/avatars", avatar | {"voice": {"type": "custom", "id": theirs["/voices"]}}),
            ("/v1/image_to_video", {"model": "gen4_turbo", "promptImage": theirs["upload"], "ratio": "1280:720"}),
            ("/v1/realtime_sessions", {"model": "gwm1_avatars", "avatar": own}),
            ("/api/tasks", {"kind": "portrait", "inputs": {"image": theirs["upload"]}}),
        ):
            assert (await stranger.post(path, json=body)).status_code == 400, path
        routed = await stranger.post("/v1/generate/image", json={"configId": "mine", "input": {"promptText": "Sea"}})
        assert (routed.status_code, routed.json()["code"]) == (404, "router_config_not_found")


async def test_tasks_of_the_page_belong_to_their_key(keyed: Keyed) -> None:
    async with keyed.client("owner") as owner, keyed.client("stranger") as stranger, keyed.client("library") as narrow:
        id = (await owner.post("/api/tasks", json={"kind": "sound", "params": {"prompt": "rain"}})).json()["id"]
        for method, path in (
            ("GET", f"/api/tasks/{id}"),
            ("DELETE", f"/api/tasks/{id}"),
            ("GET", f"/api/tasks/{id}/events"),
            ("GET", f"/api/tasks/{id}/outputs/0/provenance"),
            ("GET", f"/v1/tasks/{id}"),
        ):
            assert (await stranger.request(method, path)).status_code == 404, path
            assert (await narrow.request(method, path)).status_code == 403, path
        assert (await stranger.get("/api/tasks")).json()["tasks"] == []
        assert [task["id"] for task in (await owner.get("/api/tasks")).json()["tasks"]] == [id]


async def test_addresses_of_outputs_cannot_be_made_up(keyed: Keyed) -> None:
    async with keyed.client("owner") as owner:
        signature = "0" * 64
        for query in (
            "",
            f"?expires=99999999999&signature={signature}",
            f"?expires=-1&signature={signature}",
            "?expires=1",
        ):
            for key in ("outputs/x/1/0.mp4", "../worldstream.db", "inputs/x.png", "signing-secret", "%2e%2e/x", ""):
                answer = await owner.get(f"/v1/outputs/{key}{query}")
                assert (answer.status_code, list(answer.json())) in ((403, ["error"]), (404, ["error"])), (key, query)
