"""Tasks over our own JSON, for the Studio page: the same board as /v1, without an API key on a server that has none.

    POST   /api/tasks               {kind, params, inputs: {name: media}} -> 201, the task; up to 180 s of clip
    GET    /api/tasks               ?limit= &before= &search= -> {tasks, next}
    GET    /api/tasks/<id>          the task
    DELETE /api/tasks/<id>          cancel it, or delete it with its outputs -> 204
    GET    /api/tasks/<id>/events   server-sent events: {id, state, progress, left_s, preview?, …} until the end

Media are as in the contract: https, runway:// or data: URIs.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ClientError
from .jobs.kinds import refusal
from .jobs.workshop import OneWorkshop
from .offline import Offline
from .outputs import link
from .runway.errors import ApiError
from .runway.lists import after
from .runway.pages import cursor_of
from .strict_json import parsed
from .tasks import NewTask, Task, TaskEvent

MAX_SECONDS = 180.0
MAX_SIDE_PX = 4096
MAX_PARAMS_BYTES = 64 * 1024
MEDIA = {"first": "image", "last": "image", "mask": "image|video", "image": "image", "video": "video"}
ANY_MEDIA = "image|video|audio"
BREATH_S = 15.0  # a comment at least so often, so that nothing on the way takes the line for dead


class NoSuchTask(ClientError):
    """A task that is not there, or not the caller's."""

    code = "no_such_task"
    status = 404
    remedy = "Choose one that the list names."


class BadTask(ClientError):
    """An order that cannot be given."""

    code = "bad_task"
    remedy = "Change what the message names."


class KeyRefused(ClientError):
    """No API key, on a server that has some, or one that it does not know."""

    code = "key_refused"
    status = 401
    remedy = "Give a key that `worldstream keys create` made."


class KeyTooNarrow(KeyRefused):
    """A key that may do other things."""

    code = "key_too_narrow"
    status = 403


class Order(BaseModel):
    """The body of POST /api/tasks."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(max_length=40)]
    params: dict[str, Any] = {}
    inputs: Annotated[dict[str, str], Field(max_length=16)] = {}


def add_tasks(app: FastAPI, offline: Offline, check_origin: Callable[[Request], None]) -> None:
    """The routes. `check_origin` raises ForbiddenOrigin for pages of other sites."""
    board = offline.queue
    desk = TaskDesk(offline)

    async def owner_of(request: Request, scope: str = "tasks") -> str:
        check_origin(request)
        return await desk.owner(request.headers.get("authorization", ""), scope)

    @app.post("/api/tasks", status_code=201)
    async def create(request: Request) -> Response:
        owner = await owner_of(request, "generate")
        order = await order_of(request)
        try:
            task = await desk.order(owner, order)
        except ApiError as error:
            return refused(error)
        return JSONResponse(desk.shown(task, request), 201)

    @app.get("/api/tasks")
    async def listed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 30,
        before: Annotated[str | None, Query(max_length=200)] = None,
        search: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        owner = await owner_of(request)
        try:
            key = after(before)
        except ApiError:
            raise BadTask("`before` is not a cursor that this server gave.") from None
        found = await board.listed(owner, limit + 1, key, search)
        shown = found[:limit]
        following = cursor_of(shown[-1].created_s, shown[-1].id) if len(found) > limit else None
        return JSONResponse({"tasks": [desk.shown(task, request) for task in shown], "next": following})

    @app.get("/api/tasks/{id}")
    async def one(id: str, request: Request) -> Response:
        owner = await owner_of(request)
        return JSONResponse(desk.shown(await desk.task(owner, id), request))

    @app.delete("/api/tasks/{id}")
    async def remove(id: str, request: Request) -> Response:
        owner = await owner_of(request)
        await desk.task(owner, id)
        try:
            await board.remove(owner, id)
        except KeyError:
            raise NoSuchTask("There is no such task any more.") from None
        return Response(status_code=204)

    @app.get("/api/tasks/{id}/events")
    async def events(id: str, request: Request) -> Response:
        owner = await owner_of(request)
        await desk.task(owner, id)
        stream = _spoken(board.watch(owner, id), lambda event: desk.event(event, request))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def order_of(request: Request) -> Order:
    """The body of a request. Raises BadTask."""
    try:
        return Order.model_validate(await parsed(await request.body()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(ascii(part)[:60].strip("'") for part in first["loc"]) or "body"
        raise BadTask(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise BadTask(f"The body is not JSON: {error}.") from None


class TaskDesk:
    """Between the routes and the board."""

    def __init__(self, offline: Offline) -> None:
        self._offline, self._services = offline, offline.services
        self._workshop = OneWorkshop(offline.services.data)

    async def owner(self, authorization: str, scope: str = "tasks") -> str:
        """Whoever is on this machine, on a server without keys; else the caller behind a key with this scope. Raises
        ClientError."""
        kind, _, secret = authorization.partition(" ")
        given = secret.strip() if kind.lower() == "bearer" else ""
        try:  # a server without keys takes any, so the page needs none
            return (await self._services.authority.admit(given or "none", scope)).key
        except ApiError as error:
            raise (KeyRefused if error.status == 401 else KeyTooNarrow)(error.error) from None

    async def task(self, owner: str, id: str) -> Task:
        """Raises NoSuchTask."""
        try:
            return await self._offline.queue.get(owner, id)
        except KeyError:
            raise NoSuchTask("There is no such task.") from None

    async def order(self, owner: str, order: Order) -> Task:
        """Raises BadTask, or ApiError about the media."""
        check_params(order.params)
        why = refusal(order.kind, self._workshop)
        if why:
            raise BadTask(why)
        inputs: dict[str, str] = {}
        try:
            for name, uri in order.inputs.items():
                wanted = MEDIA.get(name, ANY_MEDIA)
                inputs[name] = (await self._services.assets.gather(owner, uri, wanted, ("inputs", name))).blob
            new = NewTask(order.kind, order.params, inputs, owner=owner, endpoint="/api/tasks", model=order.kind)
            return await self._offline.queue.create(new)
        except ValueError as error:
            await self._forget(inputs)
            raise BadTask(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        except BaseException:  # whoever asked may have gone, too
            await asyncio.shield(self._forget(inputs))
            raise

    async def _forget(self, inputs: dict[str, str]) -> None:
        """Of an order that became no task."""
        for key in inputs.values():
            await self._services.blobs.remove(key)

    def shown(self, task: Task, request: Request) -> dict[str, Any]:
        """A task for the page."""
        base_url = self._services.base_url(request.headers.get("host"), request.url.scheme)
        return {
            "id": task.id,
            "kind": task.kind,
            "model": task.model,
            "params": dict(task.params),
            "state": task.state,
            "progress": task.progress,
            "outputs": [link(self._services, base_url, key) for key in task.outputs],
            "failure": task.failure,
            "failure_code": task.failure_code,
            "facts": dict(task.facts),
            "parent": task.parent,
            "created_s": task.created_s,
            "started_s": task.started_s,
            "ended_s": task.ended_s,
        }

    def event(self, event: TaskEvent, request: Request) -> dict[str, Any]:
        """What happened, for the page; params are left out: whoever watches has them."""
        shown = self.shown(event.task, request)
        del shown["params"]
        shown["left_s"] = event.left_s
        if event.preview_jpeg is not None:
            shown["preview"] = "data:image/jpeg;base64," + base64.b64encode(event.preview_jpeg).decode()
        return shown


def check_params(params: dict[str, Any]) -> None:
    """What every kind of job has in common; the rest is each job's own. Raises BadTask."""
    try:
        size = len(json.dumps(params, allow_nan=False))
    except (ValueError, RecursionError):
        raise BadTask("The params hold a number that is not finite.") from None
    if size > MAX_PARAMS_BYTES:
        raise BadTask(f"The params take {size} bytes; at most {MAX_PARAMS_BYTES} are taken.")
    for name, least, most in (("seconds", 0.0, MAX_SECONDS), ("width", 16, MAX_SIDE_PX), ("height", 16, MAX_SIDE_PX)):
        value = params.get(name)
        if value is None:
            continue
        right = isinstance(value, int | float) and not isinstance(value, bool)  # NaN is in no range
        if not right or not least <= value <= most or value == 0:
            raise BadTask(f"`{name}` is from {least:g} to {most:g}; got {str(value)[:40]}.")


def refused(error: ApiError) -> Response:
    """An error of the contract in our own shape."""
    about = "; ".join(issue.message for issue in error.issues)
    detail = {"code": "bad_media", "message": f"{error.error} {about}".strip(), "remedy": "Choose another file."}
    return JSONResponse({"error": detail}, error.status)


async def _spoken(
    events: AsyncIterator[TaskEvent], shown: Callable[[TaskEvent], dict[str, Any]]
) -> AsyncIterator[bytes]:
    """As server-sent events, with a breath where nothing happens."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=BREATH_S)
            if not done:
                yield b":\n\n"
                continue
            try:
                event = coming.result()
            except KeyError:  # removed just now
                return
            if event is None:
                return
            yield b"data: " + json.dumps(shown(event), separators=(",", ":")).encode() + b"\n\n"
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
