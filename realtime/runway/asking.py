"""Who asks, and for what: every route of the contract demands a key of the right scope and the version header, before a
byte of the body is read. Handlers get the result by `Depends(caller)`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from ..body_limits import MAX_CONTRACT_BYTES
from ..services import Caller, Services
from ..strict_json import parsed
from .errors import ApiError, answer

log = logging.getLogger(__name__)

VERSION = "2024-11-06"  # of X-Runway-Version
SCOPES = {
    "generate": "create tasks of every kind, and upload their inputs",
    "tasks": "look at tasks, and cancel or delete them",
    "library": "documents, voices, avatars, conversations, routers and workflows",
    "realtime": "realtime sessions",
    "organization": "balance, usage and audit logs",
}
_SUBJECTS = {  # first part of a path -> scope; every other path creates tasks
    "tasks": "tasks",
    "workflow_invocations": "tasks",
    "documents": "library",
    "voices": "library",
    "avatars": "library",
    "avatar_usage": "library",
    "avatar_conversations": "library",
    "routers": "library",
    "workflows": "library",
    "realtime_sessions": "realtime",
    "organization": "organization",
}

Handler = TypeVar("Handler", bound=Callable[..., Any])


def scope_of(path: str, method: str) -> str:
    """The scope that a route needs; `path` is below /v1, e.g. /tasks/{id}. Running a workflow creates tasks."""
    subject = path.strip("/").split("/")[0]
    if subject == "workflows" and method == "POST":
        return "generate"
    return _SUBJECTS.get(subject, "generate")


def keyless(handler: Handler) -> Handler:
    """Mark a handler that asks for no API key and no version: it has proof of another kind, or gives nothing away."""
    handler.keyless = True  # type: ignore[attr-defined]
    return handler


def services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def gathered(request: Request) -> list[str]:
    """Keys of the media that this request brought and that nothing holds yet."""
    keys: list[str] = request.scope.setdefault("worldstream_gathered", [])
    return keys


async def _forget(request: Request) -> None:
    for key in gathered(request):
        try:
            await services_of(request).blobs.remove(key)
        except Exception:
            log.exception("%s stays", key)


async def caller(request: Request) -> Caller:
    """A dependency: who asks. Admitted already, see `ContractRoute`."""
    found: Caller = request.state.caller
    return found


class ContractRequest(Request):
    """A request whose body has a limit, and whose JSON is read off the event loop, strictly: no NaN, no Infinity, no
    half surrogate pairs, no NUL (which no database keeps)."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks, total = [], 0
            async for chunk in self.stream():
                total += len(chunk)
                if total > MAX_CONTRACT_BYTES:
                    raise HTTPException(413, f"The body is over {MAX_CONTRACT_BYTES} bytes; upload large files first.")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        body = await self.body()
        try:
            return self._known_by(await parsed(body))
        except ValueError as error:
            raise HTTPException(400, f"The body is not JSON: {error}.") from error

    def _known_by(self, found: Any) -> Any:
        """An operator's own name of a model stands for one of the contract, whose members it takes."""
        model = found.get("model") if isinstance(found, dict) else None
        catalogue = getattr(self.app.state, "catalogue", None)
        if catalogue is not None and isinstance(model, str) and catalogue.stands_for(model) != model:
            self.state.asked_model = model
            return found | {"model": catalogue.stands_for(model)}
        return found


class ContractRoute(APIRoute):
    """Every route of the contract: key, scope, version; errors in the contract's shape; no traceback leaves."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        asks = not getattr(self.endpoint, "keyless", False)
        path = self.path

        async def asked(request: Request) -> Response:
            request = ContractRequest(request.scope, request.receive)
            try:
                if asks:
                    await _admit(request, scope_of(path, request.method))
                return await handle(request)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            except ApiError as error:
                await _forget(request)
                return answer(error)
            except BaseException:  # cancellation too
                await asyncio.shield(_forget(request))
                raise

        return asked


async def _admit(request: Request, scope: str) -> None:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    given = secret.strip() if kind.lower() == "bearer" else ""
    request.state.caller = await services_of(request).authority.admit(given or None, scope)
    version = request.headers.get("x-runway-version")
    if version != VERSION:
        said = "is missing" if version is None else f"says {version[:40]!a}"
        raise ApiError(400, f"The header X-Runway-Version {said}; this server speaks {VERSION}.")
