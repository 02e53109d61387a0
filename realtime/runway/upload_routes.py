"""Uploads: a permission first, then the file itself as a form, sent without key or version as the SDKs do."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from ..assets.form import TooLarge, receive
from ..assets.uploads import MAX_BYTES, MIN_BYTES, UploadStore
from ..services import Caller
from .asking import caller, keyless, services_of
from .bodies import Body, words
from .errors import ApiError

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false


class NewUpload(Body):
    filename: words(255, 3)
    type: Literal["ephemeral"]


class Upload(BaseModel):
    uploadUrl: str
    fields: dict[str, str]
    runwayUri: str


def add(app: FastAPI) -> None:
    sweeping: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    @app.post("/uploads", response_model=Upload, operation_id="uploads")
    async def begin(body: NewUpload, request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, Any]:
        store = _store(request)
        sweep = asyncio.create_task(store.sweep())
        sweeping.add(sweep)
        sweep.add_done_callback(sweeping.discard)
        ticket = store.ticket(who.key)
        base_url = services_of(request).base_url(request.headers.get("host"), request.url.scheme)
        return {
            "uploadUrl": f"{base_url}/v1/uploads/{ticket.id}",
            "fields": ticket.fields,
            "runwayUri": ticket.uri,
        }

    @app.post("/uploads/{id}", status_code=204, include_in_schema=False)
    @keyless
    async def send(id: str, request: Request) -> Response:
        await _receive(request, _store(request), id)
        return Response(status_code=204)


def _store(request: Request) -> UploadStore:
    found: UploadStore = request.app.state.uploads
    return found


async def _receive(request: Request, store: UploadStore, id: str) -> None:
    """Raises ApiError."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BYTES + 2**20:
        raise ApiError(413, f"The file is over {MAX_BYTES} bytes.")
    folder = services_of(request).data / "incoming"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    path, owner = folder / f"{uuid.uuid4()}.part", ""

    async def admit(fields: dict[str, str]) -> None:
        nonlocal owner
        try:
            allowed = store.admit(id, fields)
        except ValueError as error:
            raise ApiError(403, f"{_sentence(error)}.") from error
        await store.begin(allowed, id)
        owner = allowed

    try:
        form = await receive(request.headers.get("content-type", ""), aiter(request.stream()), path, MAX_BYTES, admit)
        if form.size < MIN_BYTES:
            raise ValueError(f"the file has {form.size} bytes; at least {MIN_BYTES} are taken")
        await store.keep(owner, id, path)
    except TooLarge as error:
        raise ApiError(413, f"{_sentence(error)}.") from error
    except TimeoutError:
        raise ApiError(408, "The upload is too slow.") from None
    except ClientDisconnect:
        raise ApiError(400, "The upload broke off.") from None
    except ValueError as error:
        raise ApiError(400, f"{_sentence(error)}.") from error
    finally:
        if owner:
            store.end(id)
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
