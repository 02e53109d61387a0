"""Signed addresses of outputs: who may read, for how long, which part, and what browsers are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from tests.realtime.doubles import Clock, OpenDoor
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.outputs import DAY_S, add_outputs, link, output_url, refusal, signing_secret
from worldstream.realtime.services import Services

CONTENT = bytes(range(200))
KEY = "outputs/745bacd3-8251-4020-9cd8-3cb5287cee86/1/0.mp4"
BASE = "http://test"


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    nothing: Any = None
    return Services(
        nothing, nothing, nothing, FolderBlobs(tmp_path), OpenDoor(), tmp_path, clock, "", signing_secret(tmp_path)
    )


@pytest_asyncio.fixture
async def client(services: Services, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    add_outputs(app, services)
    for key in (KEY, "outputs/a.html", "outputs/a.zip"):
        file = tmp_path / "file"
        file.write_bytes(CONTENT)
        await services.blobs.put(key, file, "whatever")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as found:
        yield found


def url(services: Services, key: str = KEY) -> str:
    return link(services, BASE, key)


async def test_the_whole_file(client: httpx.AsyncClient, services: Services) -> None:
    answer = await client.get(url(services))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == "200"
    assert answer.headers["accept-ranges"] == "bytes"
    named = 'inline; filename="745bacd3-8251-4020-9cd8-3cb5287cee86-1-0.mp4"'
    assert answer.headers["content-disposition"] == named
    head = await client.head(url(services))
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k != "date"} == {
        k: v for k, v in answer.headers.items() if k != "date"
    }


async def test_parts(client: httpx.AsyncClient, services: Services) -> None:
    async def part(value: str, **more: str) -> httpx.Response:
        return await client.get(url(services), headers={"range": value, **more})

    answer = await part("bytes=10-19")
    assert (answer.status_code, answer.content) == (206, CONTENT[10:20])
    assert answer.headers["content-range"] == "bytes 10-19/200"
    assert answer.headers["content-length"] == "10"
    assert (await part("bytes=-5")).content == CONTENT[-5:]
    assert (await part("bytes=190-999")).headers["content-range"] == "bytes 190-199/200"
    refused = await part("bytes=200-")
    assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */200")
    several = await part("bytes=0-1,5-6")
    assert (several.status_code, several.content) == (200, CONTENT)
    etag = answer.headers["etag"]
    assert (await part("bytes=0-1", **{"if-range": etag})).status_code == 206
    assert (await part("bytes=0-1", **{"if-range": '"other"'})).status_code == 200
    head = await client.head(url(services), headers={"range": "bytes=0-1"})
    assert (head.status_code, head.headers["content-length"]) == (200, "200")  # ranges are for GET alone


async def test_what_the_browser_has_is_not_sent_again(client: httpx.AsyncClient, services: Services) -> None:
    etag = (await client.get(url(services))).headers["etag"]
    again = await client.get(url(services), headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


async def test_nothing_that_could_run_scripts(client: httpx.AsyncClient, services: Services) -> None:
    page = await client.get(url(services, "outputs/a.html"))
    assert page.headers["content-type"] == "application/octet-stream"
    for key in ("outputs/a.html", "outputs/a.zip"):
        assert (await client.get(url(services, key))).headers["content-disposition"].startswith("attachment; ")


async def test_addresses_end(client: httpx.AsyncClient, services: Services) -> None:
    clock = cast(Clock, services.clock)
    given = url(services)
    assert url(services) == given  # all day
    clock.advance(1.0 * DAY_S)
    assert (await client.get(given)).status_code == 200
    assert url(services) != given
    clock.advance(1.0 * DAY_S)
    refused = await client.get(given)
    assert refused.status_code == 403
    assert "expired" in refused.json()["error"]
    assert (await client.get(url(services))).status_code == 200


async def test_nobody_makes_addresses_up(client: httpx.AsyncClient, services: Services) -> None:
    good = url(services)
    query = dict(parse_qsl(urlsplit(good).query))
    other = good.replace("0.mp4", "1.mp4")
    later = good.replace(query["expires"], str(int(query["expires"]) + 1))
    bare = good.partition("?")[0]
    forged = output_url(KEY, BASE, b"x" * 32, services.clock())
    for bad in (other, later, bare, forged, good[:-1], good + "é", bare + "?expires=-1&signature=x"):
        answer = await client.get(bad)
        assert answer.status_code == 403, bad
        assert "error" in answer.json()
    gone = await client.get(url(services, "outputs/none.mp4"))
    assert gone.status_code == 404
    assert (await client.get(url(services, "outputs/../../secret"))).status_code in (403, 404)
    assert (await client.get(url(services, "/etc/passwd"))).status_code in (403, 404)
    assert refusal(KEY, query["expires"], "\ud800", services.signing_secret, 0.0)


def test_the_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    made = signing_secret(tmp_path)
    assert len(made) == 32
    assert signing_secret(tmp_path) == made
    assert (tmp_path / "signing-secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["signing-secret"]
    (tmp_path / "signing-secret").write_bytes(b"short")
    with pytest.raises(OSError, match="damaged"):
        signing_secret(tmp_path)
