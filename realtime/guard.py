"""Before every request: how much it may carry, whose pages may ask; and what every answer says to browsers."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ForbiddenOrigin, ImageTooLarge, MessageTooLarge, WorldstreamError
from .protocol import MAX_IMAGE_BYTES
from .sharing import body_limit

MAX_BODY_BYTES = 256 * 1024
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


class Guard:
    """ASGI middleware: bounds request bodies, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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

        size = Headers(scope=scope).get("content-length", "0" if scope["method"] in ("GET", "HEAD") else "")
        picture = scope["path"] == "/api/image"
        limit = MAX_IMAGE_BYTES if picture else body_limit(scope["path"], MAX_BODY_BYTES)
        if not size.isdecimal() or int(size) > limit:
            text = f"a body must state its length, at most {limit} bytes"
            error = ImageTooLarge(text, "Make the picture smaller.") if picture else MessageTooLarge(text)
            await error_response(error)(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)
