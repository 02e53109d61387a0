"""Before every request: how much it may carry, whose pages may ask; and what every answer says to browsers."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from .arriving import Arrival, Arrivals, Refusal
from .body_limits import Limit, limit_of
from .errors import (
    ClientError,
    ForbiddenOrigin,
    ImageTooLarge,
    MessageTooLarge,
    ServerBusy,
    SlowBody,
    WorldstreamError,
)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; "
    "worker-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # revalidate by ETag: a reload after an update never mixes old files with new ones
}


def check_origin(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> None:
    """Pages of other sites may not connect unless the config names them: a browser would let any page reach a server
    on this machine. Programs send no Origin and may. Raises ForbiddenOrigin."""
    if origin is None or origin.rstrip("/") in allowed or origin.partition("://")[2] == host:
        return
    raise ForbiddenOrigin(f"Pages of {origin[:100]} may not connect to this server.")


def error_response(error: WorldstreamError) -> JSONResponse:
    """What went wrong and what to do, with the error's own status."""
    detail = {"code": error.code, "message": error.message, "remedy": error.remedy, "id": error.id}
    return JSONResponse({"error": detail}, status_code=error.status)


def add_errors(app: FastAPI) -> None:
    """Every error of ours, and every body that is not what it should be, as `error_response`."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, WorldstreamError)
        return error_response(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return error_response(ClientError(f"{where or 'body'}: {first['msg']}"))

    app.add_exception_handler(WorldstreamError, ours)
    app.add_exception_handler(RequestValidationError, invalid)


class Guard:
    """ASGI middleware: bounds request bodies, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, arrivals: Arrivals | None = None) -> None:
        self._app, self._arrivals = app, arrivals or Arrivals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        limit = limit_of(scope["path"])
        size = _stated(Headers(scope=scope), scope["method"])
        arrival = Arrival(self._arrivals, limit, receive, size)
        closing = _Closing(arrival, send_secured)
        try:
            if (size is None and not limit.streams) or (size or 0) > limit.bytes:
                await _too_large(scope["path"], limit)(scope, receive, closing.send)
            elif "\0" in scope["path"] or b"%00" in scope["query_string"]:
                await _with_nul(scope["path"])(scope, receive, closing.send)
            else:
                await self._guarded(arrival, scope, closing.send)
        finally:
            arrival.end()

    async def _guarded(self, arrival: Arrival, scope: Scope, send: Send) -> None:
        """What the application says of a body that was broken off is not sent: it believes that the client has gone."""
        started = False

        async def send_unless_refused(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if arrival.refusal is None or started:
                started = True
                await send(message)

        try:
            await self._app(scope, arrival.receive, send_unless_refused)
        except Exception:
            if arrival.refusal is None or started:
                raise
        if arrival.refusal is not None and not started:
            await _refused(scope["path"], arrival.refusal)(scope, arrival.receive, send)


class _Closing:
    """Closes a connection on which much of a body is still to come, once its client has had time to see the answer."""

    def __init__(self, arrival: Arrival, send: Send) -> None:
        self._arrival, self._send, self._closes = arrival, send, False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and self._arrival.much_is_to_come:
            self._closes = True
            MutableHeaders(scope=message)["Connection"] = "close"
        if self._closes and message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._arrival.linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _stated(headers: Headers, method: str) -> int | None:
    """Bytes of a body as its headers say; None where they do not."""
    size = headers.get("content-length")
    if size is None:
        empty = method in ("GET", "HEAD", "DELETE") and "transfer-encoding" not in headers  # RFC 9112, section 6.3
        return 0 if empty else None
    return int(size) if size.isascii() and size.isdecimal() and len(size) < 16 else None


def _too_large(path: str, limit: Limit) -> JSONResponse:
    text = f"a body must state its length, at most {limit.bytes} bytes"
    if path.startswith("/v1/"):
        return JSONResponse({"error": f"This request is too large: {text}. Upload large files first."}, 413)
    if path == "/api/image":
        return error_response(ImageTooLarge(text, "Make the picture smaller."))
    return error_response(MessageTooLarge(text))


def _with_nul(path: str) -> JSONResponse:
    """PostgreSQL keeps no NUL, and nothing here has one in its name."""
    text = "The address holds a NUL character."
    return JSONResponse({"error": text}, 400) if path.startswith("/v1/") else error_response(ClientError(text))


def _refused(path: str, refusal: Refusal) -> JSONResponse:
    if refusal.status == 413:
        return _too_large(path, limit_of(path))
    headers = {"Retry-After": "2"} if refusal.status == 503 else {}
    if path.startswith("/v1/"):
        return JSONResponse({"error": refusal.text}, refusal.status, headers)
    answer = error_response(SlowBody(refusal.text) if refusal.status == 408 else ServerBusy(refusal.text))
    answer.headers.update(headers)
    return answer
