"""Whose pages may ask, and how much; the rest of the guard is tested over HTTP, in test_serve.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from worldstream.realtime.body_limits import Limit, limit_of
from worldstream.realtime.errors import ForbiddenOrigin
from worldstream.realtime.guard import Guard, check_origin


def test_origins() -> None:
    check_origin(None, "127.0.0.1:8800", ())
    check_origin("http://127.0.0.1:8800", "127.0.0.1:8800", ())
    check_origin("https://friend.example", "127.0.0.1:8800", ("https://friend.example",))
    for origin in ("http://127.0.0.1:9999", "null", "https://friend.example.evil.example", ""):
        with pytest.raises(ForbiddenOrigin):
            check_origin(origin, "127.0.0.1:8800", ("https://friend.example",))


@pytest.mark.parametrize(
    ("path", "bytes", "streams"),
    [
        ("/v1/uploads/abc", 201 * 2**20, True),
        ("/v1/uploads", 64 * 2**20, True),
        ("/v1/text_to_video", 64 * 2**20, True),
        ("/api/tasks", 64 * 2**20, False),
        ("/api/tasks/x", 256 * 1024, False),
        ("/api/offer", 256 * 1024, False),
        ("/v1", 256 * 1024, False),
    ],
)
def test_how_much_a_request_may_carry(path: str, bytes: int, streams: bool) -> None:
    assert limit_of(path) == Limit(bytes, streams, held="uploads/" not in path)


def guarded(
    path: str, headers: dict[str, str], pieces: list[bytes], method: str = "POST", query: bytes = b""
) -> tuple[int, int]:
    """(status, bytes that reached the application) of a request in pieces."""
    seen: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            seen.append(len(message["body"]))
            if not message["more_body"]:
                break
        status = 200 if message["type"] == "http.request" else 499
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    answers: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    asyncio.run(Guard(application)(scope, receive, send))
    return answers[0]["status"], sum(seen)


def test_bodies_that_do_not_say_their_length() -> None:
    chunked = {"transfer-encoding": "chunked"}
    small, large = [b"x" * 2**20] * 3, [b"x" * 2**20] * 70
    assert guarded("/v1/text_to_video", chunked, small) == (200, 3 * 2**20)
    assert guarded("/v1/text_to_video", chunked, large) == (413, 64 * 2**20)  # cut off where it passes it
    assert guarded("/v1/uploads/x", chunked, large) == (200, 70 * 2**20)
    assert guarded("/api/tasks", chunked, small) == (413, 0)
    assert guarded("/api/offer", chunked, small) == (413, 0)


def test_stated_lengths() -> None:
    for size, status in (
        ("3", 200),
        ("-1", 413),
        ("1e3", 413),
        ("\u0663", 413),
        ("9" * 30, 413),
        (str(65 * 2**20), 413),
    ):
        assert guarded("/api/tasks", {"content-length": size}, [b"abc"])[0] == status, size
    assert guarded("/v1/tasks/x", {}, [], "DELETE")[0] == 200  # no body, and none is meant
    assert guarded("/v1/tasks/x", {}, [], "GET")[0] == 200
    assert guarded("/api/offer", {}, [])[0] == 413


def test_addresses_with_nul_are_refused() -> None:
    assert guarded("/v1/tasks/\0", {}, [], "GET") == (400, 0)
    assert guarded("/api/tasks/x\0", {}, [], "GET") == (400, 0)
    assert guarded("/api/tasks", {}, [], "GET", b"search=a%00b") == (400, 0)
    assert guarded("/api/tasks", {}, [], "GET", b"search=%2500")[0] == 200
