"""The same at a server on PostgreSQL, which keeps no NUL characters and knows how long its columns are."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.realtime.hostile.test_requests import BODIES, JSON, OURS, PATHS, URLS
from tests.realtime.hostile.watching import HEADERS
from tests.realtime.serve_tasks import task_server
from tests.realtime.store.conftest import postgres_url as postgres_url

LONG = "\U0001f600" * 100_000


@pytest.fixture(scope="module")
def client(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("postgres")
    environment = {"WORLDSTREAM_DATABASE": postgres_url, "WORLDSTREAM_TEST_TASKS": "heavy=0 light=0"}
    with (
        task_server(folder, environment=environment) as server,
        httpx.Client(base_url=server.url, headers=HEADERS, timeout=60.0) as found,
    ):
        yield found


def test_urls_and_bodies(client: httpx.Client) -> None:
    for url in [*URLS, *OURS]:
        for method in ("GET", "DELETE"):
            answer = client.request(method, url)
            assert answer.status_code < 500, (method, url[:100], answer.text[:200])
    for path in PATHS:
        for name, body in BODIES.items():
            assert client.post(path, content=body, headers=JSON).status_code in (400, 413), (path, name)


def test_texts_longer_than_columns(client: httpx.Client) -> None:
    for path, body in (
        ("/v1/documents", {"name": "\U0001f600" * 255, "content": LONG}),
        ("/v1/routers", {"slug": "a" * 64, "name": "\U0001f600" * 255, "description": "\U0001f600" * 2000}),
        ("/v1/sound_effect", {"model": "eleven_text_to_sound_v2", "promptText": "\U0001f600" * 1500}),
        ("/api/tasks", {"kind": "sound", "params": {"prompt": "\U0001f600" * 4000, "\U0001f600": ["x"] * 5000}}),
        ("/api/tasks", {"kind": "sound", "params": {"prompt": {"not": "text"}, "model": "y" * 30_000}}),
        ("/api/tasks", {"kind": "sound" * 8, "params": {}}),
        ("/api/tasks", {"kind": "sound", "inputs": {"x" * 300: "https://example.com/x.png"}}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code < 500, (path, answer.text[:300])
    found = client.get("/api/tasks?limit=100")
    assert found.status_code == 200
    assert len(found.json()["tasks"]) >= 2
