"""Uploads: one file for each permission, for its owner, for a day; streamed to disk whatever the sender tries."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.realtime.runway.conftest import HEADERS
from tests.realtime.runway.media import film, picture
from worldstream.realtime.assets import form
from worldstream.realtime.assets.plain import sweep
from worldstream.realtime.assets.uploads import MAX_BYTES, UploadStore
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.services import Services

NAMES = ["../../../etc/passwd", "/etc/passwd", "..\\..\\x.png", "a/b.png", "nul\x00.png", "😀" * 50, "x" * 250 + ".png"]


async def begun(client: httpx.AsyncClient, filename: str = "lake.png") -> tuple[str, dict[str, str], str]:
    answer = await client.post("/v1/uploads", json={"filename": filename, "type": "ephemeral"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"uploadUrl", "fields", "runwayUri"}
    return body["uploadUrl"], body["fields"], body["runwayUri"]


async def send(
    client: httpx.AsyncClient, url: str, fields: dict[str, str], content: bytes, name: str = "x.png"
) -> httpx.Response:
    """As the SDKs do: no key, no version."""
    bare = {"authorization": "", "x-runway-version": ""}
    return await client.post(url, data=fields, files={"file": (name, io.BytesIO(content))}, headers=bare)


def kept(services: Services) -> list[Path]:
    return sorted(p for p in services.data.rglob("*") if p.is_file() and "test.db" not in p.name)


async def test_an_upload_is_used_any_number_of_times_by_its_owner(
    client: httpx.AsyncClient, services: Services
) -> None:
    url, fields, uri = await begun(client)
    assert url.startswith("http://worldstream.test/v1/uploads/")
    assert all(isinstance(value, str) for value in fields.values())
    answer = await send(client, url, fields, picture())
    assert (answer.status_code, answer.content) == (204, b"")
    body = {"model": "gen4_turbo", "promptImage": uri, "ratio": "1280:720"}
    for _ in range(3):
        assert (await client.post("/v1/image_to_video", json=body)).status_code == 200
    stranger = await client.post("/v1/image_to_video", json=body, headers=HEADERS | {"Authorization": "Bearer key_two"})
    assert stranger.status_code == 400
    assert stranger.json()["issues"][0]["path"] == ["promptImage"]
    assert not list((services.data / "incoming").iterdir())


async def test_the_public_address_is_given_where_one_is_set(client: httpx.AsyncClient, services: Services) -> None:
    object.__setattr__(services, "public_url", "https://worlds.example")
    url, _, _ = await begun(client)
    assert url.startswith("https://worlds.example/v1/uploads/")


async def test_a_permission_is_good_for_one_file(client: httpx.AsyncClient) -> None:
    url, fields, _ = await begun(client)
    answers = await asyncio.gather(*(send(client, url, fields, film()) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400, 400, 400]


@pytest.mark.parametrize("change", ["policy", "signature", "another", "nothing"])
async def test_permission_cannot_be_made_up(client: httpx.AsyncClient, services: Services, change: str) -> None:
    url, fields, _ = await begun(client)
    other_url, _, _ = await begun(client)
    changed = {
        "policy": fields | {"policy": fields["policy"][:-8] + "AAAAAAA="},
        "signature": fields | {"signature": "0" * 64},
        "another": fields,
        "nothing": {},
    }[change]
    answer = await send(client, other_url if change == "another" else url, changed, picture())
    assert answer.status_code == 403, answer.text
    assert kept(services) == []


async def test_permissions_and_files_expire(tmp_path: Path) -> None:
    now_s = 1000.0
    store = UploadStore(FolderBlobs(tmp_path / "blobs"), b"s" * 32, lambda: now_s)
    ticket = store.ticket("me")
    assert store.admit(ticket.id, ticket.fields) == "me"
    (tmp_path / "x").write_bytes(b"x" * 600)
    await store.keep("me", ticket.id, tmp_path / "x")
    now_s += 3601
    with pytest.raises(ValueError, match="expired"):
        store.admit(ticket.id, ticket.fields)
    await store.fetch("me", ticket.uri, tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == b"x" * 600
    now_s += 24 * 3600
    with pytest.raises(ValueError, match="24 hours"):
        await store.fetch("me", ticket.uri, tmp_path / "z")
    longer = re.sub(r"/\d+/", "/99999999999/", ticket.uri)
    with pytest.raises(ValueError, match="no such upload"):
        await store.fetch("me", longer, tmp_path / "z")


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_name_leads_nowhere(client: httpx.AsyncClient, services: Services, name: str) -> None:
    answer = await client.post("/v1/uploads", json={"filename": name, "type": "ephemeral"})
    if "\x00" in name:
        assert answer.status_code == 400
        return
    body = answer.json()
    assert (await send(client, body["uploadUrl"], body["fields"], picture(), name)).status_code == 204
    (path,) = kept(services)
    assert path.parent.parent == services.data / "blobs" / "uploads"
    assert re.fullmatch(r"[0-9a-f-]{36}", path.name)


@pytest.mark.parametrize(
    ("content", "status"), [(b"x" * 511, 400), (b"x" * 512, 204), (b"", 400)], ids=["511", "512", "none"]
)
async def test_the_least_size(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    url, fields, _ = await begun(client)
    assert (await send(client, url, fields, content)).status_code == status


def pieces_of(boundary: bytes, fields: dict[str, str], file: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async def all_of_it() -> AsyncIterator[bytes]:
        for name, value in fields.items():
            head = f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            yield b"--" + boundary + b"\r\n" + head.encode()
        yield b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        async for piece in file:
            yield piece
        yield b"\r\n--" + boundary + b"--\r\n"

    return all_of_it()


async def test_five_gigabytes_are_cut_off(client: httpx.AsyncClient, services: Services) -> None:
    url, fields, _ = await begun(client)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 5 * 10**9:
            sent += len(block)
            yield block

    block = bytes(2**20)
    answer = await client.post(
        url,
        content=pieces_of(b"b", fields, endless()),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 413
    assert sent < MAX_BYTES + 2 * 2**20
    assert kept(services) == []
    announced = await client.post(url, content=b"", headers={"content-length": str(5 * 10**9)})
    assert announced.status_code in (400, 413)


class Pace:
    """A clock that moves by so much with each piece."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self.now_s = step_s, 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


async def test_who_trickles_is_sent_away(tmp_path: Path) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    async def admit(fields: dict[str, str]) -> None:
        assert fields == {"a": "b"}

    pieces = pieces_of(b"b", {"a": "b"}, drops())
    kind = "multipart/form-data; boundary=b"
    with pytest.raises(TimeoutError):
        await form.receive(kind, pieces, tmp_path / "x", 10**6, admit, Pace(1.0))


async def test_silence_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "SILENCE_S", 0.05)

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async def admit(fields: dict[str, str]) -> None: ...

    with pytest.raises(TimeoutError):
        await form.receive("multipart/form-data; boundary=b", silence(), tmp_path / "x", 100, admit)


FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", b"{}", "multipart"),
        ("multipart/form-data", b"", "multipart"),
        ("multipart/form-data; boundary=" + "b" * 500, b"", "broken|multipart|Boundary"),
        ("multipart/form-data; boundary=b", b"nonsense", "broken"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header", "broken|ended"),
        ("multipart/form-data; boundary=b", b"", "ended"),
        ("multipart/form-data; boundary=b", FILE, "ended"),
        ("multipart/form-data; boundary=b", FILE + FILE + b"--b--\r\n", "last part"),
        ("multipart/form-data; boundary=b", FILE.replace(b'"file"', b'"other"') + b"--b--\r\n", "no part named file"),
        ("multipart/form-data; boundary=b", FILE.replace(b'"file"', b'"f"') * 30 + b"--b--\r\n", "no part|fields"),
        ("multipart/form-data; boundary=b", FILE.replace(b"x\r\n", b"y" * 20_000) + b"--b--\r\n", "ended|over"),
    ],
)
async def test_broken_forms_are_refused(tmp_path: Path, kind: str, body: bytes, said: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async def admit(fields: dict[str, str]) -> None: ...

    with pytest.raises(ValueError, match=said):
        await form.receive(kind, pieces(), tmp_path / "x", 10_000, admit)


async def test_old_files_are_swept(tmp_path: Path) -> None:
    now_s = 0.0
    blobs = FolderBlobs(tmp_path / "blobs")
    store = UploadStore(blobs, b"s" * 32, lambda: now_s)
    (tmp_path / "x").write_bytes(b"x" * 600)
    ticket = store.ticket("me")
    await store.keep("me", ticket.id, tmp_path / "x")
    ((_, put_s),) = [row async for row in blobs.keys("uploads/")]
    for later_s, left in ((3600.0, 1), (26 * 3600.0, 0)):
        now_s = put_s + later_s
        await store.sweep()
        assert len([row async for row in blobs.keys("uploads/")]) == left


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "old.part").touch()
    (tmp_path / "other").touch()
    put_s = (tmp_path / "old.part").stat().st_mtime
    sweep(tmp_path, put_s + 3600)
    assert (tmp_path / "old.part").exists()
    sweep(tmp_path, put_s + 25 * 3600)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    sweep(tmp_path / "missing", put_s)
