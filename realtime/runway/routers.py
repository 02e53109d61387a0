"""Model routers: saved preferences by which `generate/*` chooses a model. A slug never changes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field

from ..store import routers as store
from ..store.routers import Router, RouterRequest
from .bodies import FLAG, Body, many, option, whole
from .desk import At, Desk, checked, new_id
from .errors import invalid
from .lists import Cursor, Limit, after
from .models import Catalogue
from .pages import cursor_of, page, stamp
from .routing import names

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

SLUG = r"^[a-z][a-z0-9_-]{0,63}$"
_WHAT = "A router with this id"
_CREDITS = whole(0, 1_000_000)
Ids = many(Annotated[str, Field(min_length=1, max_length=100)], 200)
Mode = Literal["allow_new_except", "allowlist_only"]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Description = Annotated[str, Field(max_length=2000)]


class Models(Body):
    mode: Mode
    ids: Ids


class SomeModels(Body):
    mode: Mode = option()
    ids: Ids = option()


class Ceilings(Body):
    video: _CREDITS = option()
    image: _CREDITS = option()
    audio: _CREDITS = option()


class CeilingChange(Body):
    """null removes a ceiling."""

    video: _CREDITS | None = None
    image: _CREDITS | None = None
    audio: _CREDITS | None = None


class Fallback(Body):
    onCapacity: FLAG = option()


class _Settings(Body):
    schemaVersion: Literal[1] = option()
    optimizeFor: Literal["cost", "latency", "quality"] = option()
    fallback: Fallback = option()


class Settings(_Settings):
    models: Models = option()
    maxCreditsPerGeneration: Ceilings = option()


class SettingsChange(_Settings):
    """Members that are absent stay as they are."""

    models: SomeModels = option()
    maxCreditsPerGeneration: CeilingChange | None = None


class NewRouter(Body):
    slug: Annotated[str, Field(pattern=SLUG)]
    name: Name = option()
    description: Description = option()
    settings: Settings = option()


class RouterChange(Body):
    name: Name = option()
    description: Description | None = None
    settings: SettingsChange = option()


def add(app: FastAPI) -> None:
    app.post("/routers")(create)
    app.get("/routers")(listed)
    app.get("/routers/{id}")(retrieve)
    app.patch("/routers/{id}")(update)
    app.delete("/routers/{id}", status_code=204, response_class=Response)(delete)
    app.get("/routers/{id}/requests")(list_requests)


async def create(body: NewRouter, at: At) -> dict[str, Any]:
    settings = {"optimizeFor": "cost"} | body.sent().get("settings", {})
    _check_models(at.request, settings)
    now = at.now()
    router = Router(
        new_id(),
        at.owner,
        now,
        now,
        body.slug,
        body.name or body.slug,
        body.description,
        {**settings, "schemaVersion": 1},
    )
    try:
        await at.write(lambda c: store.put(c, router))
    except store.Taken:
        raise invalid(["slug"], f"Another router has the slug {body.slug!r}.") from None
    await at.note("router.create", "router", router.id)
    return shown(router)


async def listed(at: At, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    place = after(cursor)
    rows = await at.read(lambda c: store.routers.listed(c, at.owner, limit + 1, place))
    return page(rows, limit, shown, lambda router: cursor_of(router.created_s, router.id))


async def retrieve(id: str, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    return shown(await at.read(lambda c: store.routers.get(c, at.owner, id), _WHAT))


async def update(id: str, body: RouterChange, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    change = body.model_dump(exclude_unset=True)
    settings = change.pop("settings", None)
    _check_models(at.request, settings or {})

    def work(connection: Any) -> Router:
        router = store.change(connection, at.owner, id, at.now(), settings, **change)
        models = router.settings.get("models")
        if models is not None and set(models) != {"mode", "ids"}:
            missing = min({"mode", "ids"} - set(models))
            raise invalid(
                ["settings", "models", missing], "Required: this router had no models before.", "invalid_type"
            )
        return router

    router = await at.write(work, _WHAT)
    await at.note("router.update", "router", id)
    return shown(router)


async def delete(id: str, at: At) -> None:
    checked(id, _WHAT)
    await at.write(lambda c: store.remove(c, at.owner, id), _WHAT)
    await at.note("router.delete", "router", id)


async def list_requests(id: str, at: At, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    checked(id, _WHAT)
    place = after(cursor)

    def work(connection: Any) -> list[RouterRequest]:
        store.routers.get(connection, at.owner, id)
        return store.requests(connection, at.owner, id, limit + 1, place)

    rows = await at.read(work, _WHAT)
    return page(rows, limit, _request, lambda row: cursor_of(row.created_s, row.id))


async def note_decision(at: Desk, router: Router, **decision: Any) -> None:
    """Into the router's log; members as the contract names them, absent ones null or empty."""
    usual: dict[str, Any] = dict.fromkeys(("model", "provider", "reason", "reasonCode", "estimatedCredits", "taskId"))
    usual |= {"requestId": new_id(), "pipeline": [], "emptiedBy": []}
    row = RouterRequest(new_id(), at.owner, at.now(), router.id, usual | decision)
    await at.write(lambda c: store.log(c, row))


def shown(router: Router) -> dict[str, Any]:
    return {
        "id": router.id,
        "slug": router.slug,
        "name": router.name,
        "description": router.description,
        "settings": router.settings,
        "version": router.version,
        "createdAt": stamp(router.created_s),
        "updatedAt": stamp(router.updated_s),
    }


def _request(row: RouterRequest) -> dict[str, Any]:
    return {"id": row.id, "createdAt": stamp(row.created_s), **row.decision}


def _check_models(request: Request, settings: dict[str, Any]) -> None:
    """Raises a 400 about the first id that is no model."""
    catalogue: Catalogue = request.app.state.catalogue
    known = names(catalogue)
    for index, id in enumerate((settings.get("models") or {}).get("ids", ())):
        if id not in known:
            raise invalid(["settings", "models", "ids", index], f"There is no model {id!a}.", "invalid_enum_value")
