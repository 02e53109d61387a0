"""Webhooks: signed as the standard says, repeated until taken, kept over a crash, and never into a private network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore
import pytest

from tests.realtime.doubles import Clock, eventually
from worldstream.realtime.store import webhooks as rows
from worldstream.realtime.store.database import Database
from worldstream.realtime.task_body import task_body
from worldstream.realtime.tasks import Task
from worldstream.realtime.webhooks import (
    HOLD_S,
    PAUSES_S,
    ForbiddenAddress,
    PublicOnly,
    Webhooks,
    check_url,
    is_public,
    secret_bytes,
    secret_text,
    signature,
)

SECRET = b"s" * 32
DONE = Task(
    "745bacd3-8251-4020-9cd8-3cb5287cee86", "clip", {"prompt": "sea"}, "me", "/v1/text_to_video", "gen4.5", "SUCCEEDED",
    1795284099.6691825, 1.0, ("outputs/x/1/0.mp4",), credits=25, facts={"ran": "nano"}, ended_s=1795284102.0,
)  # fmt: skip


def body_of(task: Task) -> dict[str, Any]:
    return task_body(task, lambda key: f"https://here/{key}")


class Listener:
    """A client's server: keeps what it hears, and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.hangs = False
        self.port = 0
        self.talks: list[asyncio.Task[Any]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            await asyncio.wait_for(asyncio.gather(*self.talks), 10.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self.talks.append(talk)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:  # no HTTP at all
            writer.close()
            await writer.wait_closed()
            return
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers | {"request": head[0]}, body))
        if not self.hangs:
            status = self.answers.pop(0) if self.answers else 200
            more = b"Location: http://127.0.0.1:1/\r\n" if 300 <= status < 400 else b""
            writer.write(f"HTTP/1.1 {status} X\r\n".encode() + more + b"Content-Length: 2\r\n\r\nok")
            await writer.drain()
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def post_office(
    tmp_path: Path, clock: Callable[[], float], network: httpcore.AsyncNetworkBackend | None = None
) -> AsyncIterator[tuple[Webhooks, Database]]:
    database = Database(tmp_path / "db")
    database.migrate(rows.MIGRATIONS)
    try:
        yield Webhooks(database, SECRET, body_of, clock, network or PublicOnly(private=True), poll_s=0.02), database
    finally:
        await asyncio.to_thread(database.close)


def verified(secret: str, headers: dict[str, str], body: bytes) -> Any:
    """As a client checks it, after the text of the standard alone."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert expected in [part.split(",")[1] for part in headers["webhook-signature"].split(" ") if part[:3] == "v1,"]
    return json.loads(body)


def test_the_standards_own_example() -> None:
    """The test vector of the Standard Webhooks specification's reference libraries."""
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert secret_bytes(secret_text(SECRET)) == SECRET


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"short").decode()])
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        secret_bytes(text)


async def test_the_end_of_a_task_is_told_and_signed(tmp_path: Path, clock: Clock) -> None:
    async with Listener().listening() as client, post_office(tmp_path, clock) as (office, database):
        url = f"http://127.0.0.1:{client.port}/hook?a=b"
        database.now(lambda c: rows.add_webhook(c, url, DONE, clock()))
        assert await office.deliver_one()
        assert not await office.deliver_one()
        headers, body = client.heard[0]
        assert headers["request"] == "POST /hook?a=b HTTP/1.1"
        assert headers["host"] == f"127.0.0.1:{client.port}"
        assert headers["content-type"] == "application/json"
        assert headers["webhook-timestamp"] == "100"
        assert verified(secret_text(SECRET), headers, body) == {
            "id": DONE.id,
            "createdAt": "2026-11-21T18:01:39.669Z",
            "status": "SUCCEEDED",
            "output": ["https://here/outputs/x/1/0.mp4"],
            "cost": {"credits": 25},
            "metadata": {"ran": "nano"},
        }
        assert len(client.heard) == 1
        assert database.now(rows.next_webhook) is None


async def test_whoever_does_not_take_it_hears_it_again(tmp_path: Path, clock: Clock) -> None:
    async with Listener().listening() as client, post_office(tmp_path, clock) as (office, database):
        client.answers = [500, 302, 404, *([503] * 20)]
        database.now(lambda c: rows.add_webhook(c, f"http://127.0.0.1:{client.port}/", DONE, clock()))
        for number, pause_s in enumerate(PAUSES_S, 1):
            assert await office.deliver_one()
            assert len(client.heard) == number
            clock.advance(pause_s - 0.1)
            assert not await office.deliver_one()
            clock.advance(0.2)
        assert await office.deliver_one()
        assert database.now(rows.next_webhook) is None  # given up, after three days
        assert len({headers["webhook-id"] for headers, _ in client.heard}) == 1
        for headers, body in client.heard:
            verified(secret_text(SECRET), headers, body)


async def test_a_crash_while_delivering_loses_nothing(tmp_path: Path, clock: Clock) -> None:
    async with Listener().listening() as client, post_office(tmp_path, clock) as (office, database):
        client.hangs = True
        database.now(lambda c: rows.add_webhook(c, f"http://127.0.0.1:{client.port}/", DONE, clock()))
        office.open()
        await eventually(lambda: client.heard)
        await office.close()  # in the middle
        client.hangs = False
        assert not await office.deliver_one()  # another server may have it still
        clock.advance(HOLD_S)
        assert await office.deliver_one()
        assert [headers["webhook-id"] for headers, _ in client.heard[:1]] == [client.heard[1][0]["webhook-id"]]
        assert database.now(rows.next_webhook) is None


async def test_workers_deliver_by_themselves(tmp_path: Path, clock: Clock) -> None:
    async with Listener().listening() as client, post_office(tmp_path, clock) as (office, database):
        office.open()
        for _ in range(20):
            database.now(lambda c: rows.add_webhook(c, f"http://127.0.0.1:{client.port}/", DONE, clock()))
        await eventually(lambda: len(client.heard) >= 20)
        await office.close()
        assert len({headers["webhook-id"] for headers, _ in client.heard}) == len(client.heard) == 20


async def test_no_private_address_hears_anything(tmp_path: Path, clock: Clock) -> None:
    """Neither by number, nor by a name that leads there, nor by one that leads there as well."""
    led: dict[str, list[str]] = {
        "inside.example": ["10.0.0.7"],
        "both.example": ["203.0.113.9", "127.0.0.1"],
        "mapped.example": ["::ffff:127.0.0.1"],
        "nowhere.example": [],
    }

    async def find(host: str, port: int) -> list[str]:
        return led.get(host, [host])

    async with Listener().listening() as client:
        network = PublicOnly(private=False, find=find)
        async with post_office(tmp_path, clock, network) as (office, database):
            for host in [*led, "127.0.0.1", "169.254.169.254"]:
                url = f"http://{host}:{client.port}/"
                database.now(lambda c, url=url: rows.add_webhook(c, url, DONE, clock()))  # type: ignore[misc]
            for _ in range(6):
                assert await office.deliver_one()
            assert client.heard == []
        for host in led:
            with pytest.raises(ForbiddenAddress):
                await network.connect_tcp(host, client.port)


async def test_the_address_that_was_checked_is_the_one_that_is_used() -> None:
    """A name server that answers differently the second time is asked once."""
    asked = []

    async def find(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with Listener().listening() as client:
        stream = await PublicOnly(private=True, find=find).connect_tcp("rebinds.example", client.port)
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        await stream.aclose()
    assert asked == ["rebinds.example"]


async def test_tls_is_checked_against_the_name(tmp_path: Path, clock: Clock) -> None:
    """Connecting by number must not lose the name: a plain server is no TLS server, and says so at once."""

    async def find(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    names = []

    class Spy(ssl.SSLContext):
        def wrap_bio(
            self,
            incoming: Any,
            outgoing: Any,
            server_side: bool = False,
            server_hostname: Any = None,
            session: Any = None,
        ) -> Any:
            names.append(server_hostname)
            return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    database = Database(tmp_path / "db")
    database.migrate(rows.MIGRATIONS)
    async with Listener().listening() as client:
        tls = Spy(ssl.PROTOCOL_TLS_CLIENT)
        office = Webhooks(database, SECRET, body_of, clock, PublicOnly(private=True, find=find), tls)
        database.now(lambda c: rows.add_webhook(c, f"https://hooks.example:{client.port}/", DONE, clock()))
        # it hears a greeting that it does not understand, and never answers; our side gives up by itself
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("worldstream.realtime.webhooks.TIMEOUT_S", 0.5)
            assert await office.deliver_one()
    await asyncio.to_thread(database.close)
    assert names == [b"hooks.example"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False), ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
        ("192.0.2.1", False), ("198.18.0.1", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    ["", "http://example.org/", "https://", "https://u:p@example.org/", "ftp://x/", "https://exa mple.org", "https://ä.org",
     "https://example.org:0/", "https://example.org:x/", "https://[::1", "https://example.org/" + "a" * 3000],
)  # fmt: skip
def test_urls_that_are_refused_beforehand(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https"):
        check_url(url)


def test_urls_that_are_taken() -> None:
    assert check_url("https://example.org:8443/hook?x=1")
    assert check_url("http://localhost:9000/", private=True)
