"""The HTTP contract of the Runway SDKs as one application, mounted by the server at /v1.

Each subject is a module with `add(app)`. Whatever happens here is answered in JSON: `{error, issues?}`, unknown paths
and methods included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi

from ..assets.uploads import UploadStore
from ..services import Services
from . import generation_routes, task_routes, upload_routes
from .asking import VERSION, ContractRoute, keyless
from .errors import ApiError, answer
from .issues import refused
from .library_subjects import LIBRARY
from .models import Catalogue, read_catalogue

log = logging.getLogger(__name__)

SUBJECTS: tuple[Callable[[FastAPI], None], ...] = (
    generation_routes.add,
    task_routes.add,
    upload_routes.add,
    *LIBRARY,
)
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "issues": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "path", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "path": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}},
                    "message": {"type": "string"},
                },
            },
        },
        "docUrl": {"type": "string"},
    },
}
_STATUSES = {
    "400": "What was sent is not right; `issues` says where.",
    "401": "No API key, or one that is not known.",
    "403": "The key may not do this.",
    "404": "There is no such thing, or it belongs to another key.",
    "409": "It is being worked on.",
    "413": "The body is too large.",
    "429": "Over a quota.",
}


def runway_app(
    services: Services, subjects: tuple[Callable[[FastAPI], None], ...] = SUBJECTS, catalogue: Catalogue | None = None
) -> FastAPI:
    """All routes, around what the offline half of the server shares. Raises ValueError where the operator's catalogue
    cannot be read."""
    app = FastAPI(
        title="worldstream, Runway-compatible API",
        version=VERSION,
        openapi_url=None,  # below; and no pages about it, which would load scripts from elsewhere
        redirect_slashes=False,
    )
    app.router.route_class = ContractRoute
    furnish(app, services, catalogue or read_catalogue(services.data))
    for add in subjects:
        add(app)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    _add_description(app)
    add_errors(app)
    return app


def furnish(app: FastAPI, services: Services, catalogue: Catalogue) -> None:
    """Give the routes what they work with."""
    app.state.services, app.state.catalogue = services, catalogue
    app.state.uploads = UploadStore(services.blobs, services.signing_secret, services.clock)


def add_errors(app: FastAPI) -> None:
    """Every error in the contract's shape."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return answer(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(refused(error.errors(), error.body))

    async def plain(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(ApiError(error.status_code, str(error.detail)))

    async def unknown(request: Request, _: Exception) -> Response:
        return answer(ApiError(404, f"There is nothing at {ascii(request.url.path[:200])[1:-1]}."))

    async def method(request: Request, _: Exception) -> Response:
        return answer(ApiError(405, f"{request.method} is not possible here."))

    async def ours_to_mend(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(ApiError(500, "Something went wrong in this server; its log says what."))

    app.add_exception_handler(ApiError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(404, unknown)
    app.add_exception_handler(405, method)
    app.add_exception_handler(Exception, ours_to_mend)


def _add_description(app: FastAPI) -> None:
    lock = asyncio.Lock()

    @app.get("/openapi.json", include_in_schema=False)
    @keyless
    async def openapi() -> dict[str, Any]:
        async with lock:  # made once, and not on the event loop: it takes most of a second
            return await asyncio.to_thread(app.openapi)


def _description(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of what is really answered: errors as above, and the key and the version that every request needs."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes, servers=[{"url": "/v1"}])
        parts = found.setdefault("components", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            parts.get("schemas", {}).pop(unused, None)
        parts.setdefault("schemas", {})["Error"] = _ERROR
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        keyless = {
            getattr(r, "path", "") for r in app.routes if getattr(getattr(r, "endpoint", None), "keyless", False)
        }
        for path, operations in found["paths"].items():
            for operation in operations.values():
                _complete(operation, asks=path not in keyless)
        app.openapi_schema = found
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, asks: bool) -> None:
    operation["responses"].pop("422", None)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status, description in _STATUSES.items():
        operation["responses"].setdefault(status, {"description": description, "content": content})
    if asks:
        operation["security"] = [{"key": []}]
        header = {"name": "X-Runway-Version", "in": "header", "required": True, "schema": {"const": VERSION}}
        operation.setdefault("parameters", []).append(header)
