"""What tasks made, at addresses that are signed and end: `/v1/outputs/<key>?expires=<Unix time>&signature=<hex>`.

The signature is HMAC-SHA256 of key and expiry; whoever has the address may read the file, and nobody can make one up.
Answers never redirect, know ranges (RFC 9110), and never say a type that could run scripts.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import secrets
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from .blobs import OPAQUE, check_key, media_type_of
from .byte_ranges import Span, Unsatisfiable, span_of, unchanged, whole_again
from .services import Services

PATH = "/v1/outputs/"
DAY_S = 86_400
SECRET_BYTES = 32
SHOWN = ("video/", "image/", "audio/")  # in the browser itself; the rest is saved


def signing_secret(data: Path, name: str = "signing-secret") -> bytes:
    """The server's own secret, made at the first start and kept in the data folder, readable by its user alone. Servers
    that share a database and sit behind one address should share it. Blocks. Raises OSError."""
    file = data / name
    part = data / f".{name}-{secrets.token_hex(8)}"
    if not file.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as fresh:
            fresh.write(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(part, file)  # whole, and only where no other server was first
        except FileExistsError:
            pass
        finally:
            part.unlink()
    found = file.read_bytes()
    if len(found) < SECRET_BYTES:
        raise OSError(f"{file} is damaged; remove it, and a new one is made")
    return found


def output_url(key: str, base_url: str, secret: bytes, now_s: float) -> str:
    """An address of a blob, good for 24 to 48 hours; the same all day, so that browsers may keep what they got."""
    expires = (math.floor(now_s / DAY_S) + 2) * DAY_S
    return f"{base_url}{PATH}{quote(key)}?expires={expires}&signature={_signature(key, expires, secret)}"


def link(services: Services, base_url: str, key: str) -> str:
    """`output_url` with what a route has at hand; `base_url` is `services.base_url(…)` of the request."""
    return output_url(key, base_url, services.signing_secret, services.clock())


def _signature(key: str, expires: int, secret: bytes) -> str:
    return hmac.new(secret, f"{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


def refusal(key: str, expires: str, signature: str, secret: bytes, now_s: float) -> str:
    """Why an address may not be read; empty where it may."""
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 15):
        return "This address is not complete."
    if not hmac.compare_digest(_signature(key, int(expires), secret).encode(), signature.encode("utf-8", "replace")):
        return "This address was not given by this server."
    if int(expires) <= now_s:
        return "This address has expired; ask for the task again, which gives a fresh one."
    return ""


def add_outputs(app: FastAPI, services: Services) -> None:
    """The route, on the whole application."""

    @app.api_route(PATH + "{key:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def output(key: str, request: Request, expires: str = "", signature: str = "") -> Response:
        reason = refusal(key, expires, signature, services.signing_secret, services.clock())
        if reason:
            return JSONResponse({"error": reason}, 403)
        try:
            check_key(key)
            size = await services.blobs.size(key)
        except (KeyError, ValueError):
            return JSONResponse({"error": "This output is not kept any more."}, 404)
        return _answer(services, request, key, size)


def _answer(services: Services, request: Request, key: str, size: int) -> Response:
    etag = '"' + hashlib.sha256(f"{key}\n{size}".encode()).hexdigest()[:32] + '"'  # a key's content never changes
    headers = _headers(key, etag)
    if unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range") if request.method == "GET" else None
    try:
        span = span_of(None if whole_again(request.headers.get("if-range"), etag) else asked, size)
    except Unsatisfiable:
        refused = {**headers, "Content-Range": f"bytes */{size}"}
        return JSONResponse({"error": f"This output has {size} bytes."}, 416, refused)
    status = 200 if span is None else 206
    if span is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    span = span or Span(0, size)
    headers |= {"Content-Length": str(span.bytes), "Content-Type": media_type_of(key)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(services.blobs.read(key, span.start, span.stop), status, headers)


def _headers(key: str, etag: str) -> dict[str, str]:
    media_type = media_type_of(key)
    shown = media_type.startswith(SHOWN) and media_type != OPAQUE
    name = key.replace("/", "-").removeprefix("outputs-")  # of letters, digits and .-_ alone, see blobs.check_key
    return {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{name}"',
        "Access-Control-Allow-Origin": "*",  # the signature is the permission
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def links(services: Services, base_url: str, keys: tuple[str, ...]) -> list[str]:
    """Addresses of several blobs."""
    return [link(services, base_url, key) for key in keys]
