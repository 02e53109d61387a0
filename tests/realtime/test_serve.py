"""The HTTP side: routes, headers, errors, and starting up."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.realtime.doubles import RunningServer


async def get(server: RunningServer, path: str, **options: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http) as client:
        return await client.get(path, **options)  # type: ignore[arg-type]


async def post(server: RunningServer, body: object, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http) as client:
        return await client.post("/api/offer", json=body, headers=headers)


HELLO = {"type": "hello", "v": 1, "seed": 1, "prompt": ""}


async def test_world(server: RunningServer) -> None:
    world = (await get(server, "/api/world")).json()
    assert set(world) == {
        "protocol", "name", "width", "height", "fps", "engine", "steps", "themes", "times", "weathers", "moods",
        "max_prompt_chars", "version", "chunk", "controls",
    }  # fmt: skip
    assert (world["protocol"], world["name"], world["width"], world["max_prompt_chars"]) == (1, "fake", 320, 500)


async def test_status_health_and_metrics(server: RunningServer) -> None:
    status = (await get(server, "/api/status")).json()
    assert status.pop("uptime_s") >= 0.0
    assert status == {"live": False, "viewers": 0, "queue": 0}
    assert (await get(server, "/healthz")).json() == {"ok": True}
    metrics = await get(server, "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "worldstream_frames_total" in metrics.text


async def test_pages_come_with_headers(server: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = await get(server, "/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["x-content-type-options"] == "nosniff"
    script = await get(server, "/app/protocol.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = await get(server, "/app/protocol.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304
    assert (await get(server, "/app/../serve.py")).status_code == 404
    assert (await get(server, "/app/%2e%2e/%2e%2e/pyproject.toml")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad_request"),
        ({"sdp": 1, "type": "offer", "hello": HELLO}, 400, "bad_request"),
        ({"sdp": "v=0", "type": "offer", "hello": {}}, 400, "malformed"),
        ({"sdp": "v=0", "type": "offer", "hello": {**HELLO, "v": 9}}, 400, "wrong_version"),
        ({"sdp": "", "type": "offer", "hello": HELLO}, 400, "bad_offer"),
        ({"sdp": "nonsense", "type": "offer", "hello": HELLO}, 400, "bad_offer"),
        ({"sdp": "v=0\r\nm=video", "type": "offer", "hello": HELLO}, 400, "bad_offer"),
        ({"sdp": "v=0\r\nm=video x y z\r\na=", "type": "offer", "hello": HELLO}, 400, "bad_offer"),
        ({"sdp": "x" * 70_000, "type": "offer", "hello": HELLO}, 400, "bad_offer"),
        ({"sdp": "x" * 300_000, "type": "offer", "hello": HELLO}, 413, "too_large"),
    ],
)
async def test_bad_offers_get_a_polite_answer(server: RunningServer, body: object, status: int, code: str) -> None:
    answer = await post(server, body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert all(error[name] for name in ("message", "remedy", "id"))
    assert not server.house.peers.links
    assert server.house.lobby.sessions == {}


async def test_offers_from_other_sites_are_refused(server: RunningServer) -> None:
    answer = await post(server, {"sdp": "", "type": "offer", "hello": HELLO}, Origin="https://evil.example")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
