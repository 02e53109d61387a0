"""Uploads as strangers send them, to a real server: huge, slow, broken off, forged; nothing stays, memory is flat."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.realtime.hostile.conftest import ended, ordered
from tests.realtime.hostile.watching import FLAT_BYTES, HEADERS, left, watched
from tests.realtime.runway.media import picture
from tests.realtime.serve_tasks import TaskServer

GB = 10**9
BOUNDARY = "hostile"
NAMES = [
    "../../../../etc/cron.d/x", "/etc/passwd", "..\\..\\windows\\x.png", "a\u202egnp.exe", "\uff0e\uff0e\uff0fx",
    "C:x.png", "x" * 255, "~/.ssh/authorized_keys", "a/b/../../c", ".part-1", "%2e%2e%2fx", "con.png",
    "x\r\nSet-Cookie: a=b",
]  # fmt: skip


@pytest.fixture
def given(client: httpx.Client) -> dict[str, Any]:
    """A permission to upload."""
    return begun(client)


def begun(client: httpx.Client, name: str = "picture.png") -> dict[str, Any]:
    answer = client.post("/v1/uploads", json={"filename": name, "type": "ephemeral"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def head(fields: dict[str, str], name: str = "x.png") -> bytes:
    """A form as far as the first byte of its file."""
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    last = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    return (parts + last + "Content-Type: image/png\r\n\r\n").encode()


def opened(server: TaskServer, path: str, length: str) -> socket.socket:
    """A request whose body is still to come."""
    connection = socket.create_connection(("127.0.0.1", server.port), 30.0)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    )
    return connection


def said(connection: socket.socket) -> bytes:
    """The answer, as far as there is one."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
            header, ends, body = found.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", header)
            if ends and length is not None and len(body) >= int(length[1]):
                return found
    except (ConnectionError, TimeoutError):
        return found
    return found


def path_of(given: dict[str, Any]) -> str:
    return str(given["uploadUrl"]).partition("/v1/")[2].join(["/v1/", ""])


def test_five_gigabytes_announced(server: TaskServer, data: Path, given: dict[str, Any]) -> None:
    before = left(data)
    with closing(opened(server, path_of(given), f"Content-Length: {5 * GB}")) as connection:
        answer = said(connection)  # before a byte of it is sent
    assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
    assert b'"error"' in answer
    assert left(data) == before


def test_five_gigabytes_in_chunks(
    server: TaskServer, client: httpx.Client, data: Path, task: str, given: dict[str, Any]
) -> None:
    before, piece = left(data), b"%x\r\n" % 2**20 + b"x" * 2**20 + b"\r\n"
    sent, first = 0, head(given["fields"])
    with (
        watched(server.process.pid, server.url, task) as watch,
        closing(opened(server, path_of(given), "Transfer-Encoding: chunked")) as connection,
    ):
        connection.sendall(b"%x\r\n" % len(first) + first + b"\r\n")
        try:
            while sent < 5 * GB:
                connection.sendall(piece)
                sent += 2**20
        except ConnectionError:
            pass
        answer = said(connection)
    assert sent < 300 * 2**20  # it is not even received
    assert answer.startswith(b"HTTP/1.1 413") or answer == b"", answer[:200]  # a reset may overtake the answer
    assert left(data) == before
    assert watch.growth < FLAT_BYTES, f"{watch.growth / 2**20:.0f} MiB"
    assert watch.slow_s() < 0.5


def test_a_trickle_is_sent_away(server: TaskServer, data: Path, given: dict[str, Any]) -> None:
    """The server of this test waits 1 s between two pieces; the pace on the whole is tested with a virtual clock."""
    before, began_s = left(data), time.monotonic()
    drips = [opened(server, path_of(given), "Content-Length: 100000") for _ in range(20)]
    for connection in drips:
        connection.sendall(head(given["fields"])[:100])
    for connection in drips:
        with closing(connection):
            assert said(connection).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began_s < 10.0
    assert left(data) == before


def test_a_client_that_goes_midway_leaves_nothing(
    server: TaskServer, client: httpx.Client, data: Path, given: dict[str, Any]
) -> None:
    before = left(data)
    with closing(opened(server, path_of(given), "Content-Length: 5000000")) as connection:
        connection.sendall(head(given["fields"]) + b"x" * 1_000_000)
    began_s = time.monotonic()
    while left(data) != before and time.monotonic() - began_s < 10.0:
        time.sleep(0.05)
    assert left(data) == before
    assert send(given, picture()).status_code == 204  # the permission is still good


def send(
    given: dict[str, Any], content: bytes, name: str = "x.png", fields: dict[str, str] | None = None
) -> httpx.Response:
    files = {"file": (name, io.BytesIO(content), "image/png")}
    return httpx.post(given["uploadUrl"], data=given["fields"] if fields is None else fields, files=files, timeout=30.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_leads_nowhere(client: httpx.Client, data: Path, name: str) -> None:
    given = begun(client, name)
    before, outside = left(data), {path for path in data.parent.rglob("*") if path.is_file()}
    assert send(given, picture(), name).status_code == 204
    new = left(data) - before
    assert len(new) == 1
    assert new.pop().startswith("blobs/uploads/")
    assert len({path for path in data.parent.rglob("*") if path.is_file()} - outside) == 1
    uri = given["runwayUri"]
    made = ordered(client, "portrait", {"image": uri}, {"width": 64, "height": 64})
    assert ended(client, made.json()["id"])["state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("name", "why"), [("x" * 256, "at most 255"), ("x", "at least 3"), ("nul\0.png", "NUL"), ("", "at least")]
)
def test_names_that_are_none(client: httpx.Client, name: str, why: str) -> None:
    answer = client.post("/v1/uploads", json={"filename": name, "type": "ephemeral"})
    assert answer.status_code == 400
    assert why in answer.text


def forgeries(given: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[dict[str, str], int]]:
    good = given["fields"]
    yield {}, 403
    for name in ("policy", "signature"):
        yield {key: value for key, value in good.items() if key != name}, 403
        yield good | {name: other["fields"][name]}, 403
        yield good | {name: ""}, 403
        yield good | {name: "\u0661" + good[name]}, 403
    yield other["fields"], 403  # of another upload
    yield good | {f"more{n}": "x" for n in range(30)}, 400
    yield good | {"long": "x" * 20_000}, 413


def test_permissions_cannot_be_made_up(client: httpx.Client, data: Path, given: dict[str, Any]) -> None:
    before, other = left(data), begun(client)
    for fields, status in forgeries(given, other):
        answer = send(given, picture(), fields=fields)
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), (fields, answer.text)
    assert left(data) == before
    assert send(given, picture()).status_code == 204
    again = send(given, picture())
    assert (again.status_code, "used" in again.text) == (400, True)


@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x",
        f"multipart/form-data; boundary={'x' * 3000}", "multipart/form-data; boundary*=utf-8''%ff", "application/json",
        'multipart/form-data; boundary="', "multipart/form-data; boundary=\xff\xfe", ";" * 1000, "=" * 1000,
    ],
)  # fmt: skip
def test_types_of_forms_that_are_none(data: Path, given: dict[str, Any], content_type: str) -> None:
    before = left(data)
    body = head(given["fields"]) + picture() + b"\r\n--hostile--\r\n"
    headers = [(b"content-type", content_type.encode("latin-1"))]
    answer = httpx.post(given["uploadUrl"], content=body, headers=headers)
    assert (answer.status_code, list(answer.json())) == (400, ["error"]), answer.text
    assert left(data) == before


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--hostile--\r\n", b"--hostile\r\n\r\n\r\n--hostile--", b"--hostile\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        b"--hostile\r\nContent-Disposition: form-data; name=\"x\r\n\r\n", b"\0" * 5000, b"--hostile" * 5000,
        b"--hostile\r\nContent-Disposition: " + b"y" * 2_000_000,
        b'--hostile\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 30 + b"--hostile--\r\n",
    ],
    ids=range(9),
)  # fmt: skip
def test_forms_that_are_broken(data: Path, given: dict[str, Any], body: bytes) -> None:
    before = left(data)
    headers = {"content-type": "multipart/form-data; boundary=hostile"}
    answer = httpx.post(given["uploadUrl"], content=body, headers=headers)
    assert (answer.status_code, list(answer.json())) == (400, ["error"]), answer.text
    assert left(data) == before


def test_a_uri_cannot_be_made_up(client: httpx.Client, data: Path, given: dict[str, Any]) -> None:
    assert send(given, picture()).status_code == 204
    good = str(given["runwayUri"])
    before = left(data)
    for bad in (
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.replace("/uploads/", "/uploads/../"),
        "runway://uploads/../../worldstream.db",
        "runway://" + "x" * 4000,
        good + "\n",
        good.upper(),
        "RUNWAY" + good[6:],
    ):
        assert ordered(client, "portrait", {"image": bad}).status_code == 400, bad
        body = {"model": "gen4_turbo", "promptImage": bad, "ratio": "1280:720"}
        assert client.post("/v1/image_to_video", json=body, headers=HEADERS).status_code == 400, bad
    assert left(data) == before
