"""Voices of one's own: from a recording, or from words that describe one. The preview is spoken by a light task; a
voice that no engine here can speak with is FAILED, with the reason."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Response
from pydantic import Field

from ..store import library
from ..store.library import Voice
from ..tasks import FINAL, Task
from .bodies import AUD, Body, option
from .desk import At, checked, new_id
from .errors import ApiError
from .links import link
from .lists import Cursor, Limit, after
from .pages import cursor_of, page, stamp

# members have types that functions make
# pyright: reportInvalidTypeForm=false

SAMPLE = "Hello. This is how I sound, whenever you would like to talk."
MODEL = "voice_processing"  # what it is counted under
PREVIEW_LIMIT_S = 45.0  # a client waits 60 s for an answer
_WHAT = "A voice with this id"

Prompt = Annotated[str, Field(min_length=20, max_length=1000)]
Designer = Literal["eleven_ttv_v3", "eleven_multilingual_ttv_v2"]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Description = Annotated[str, Field(min_length=1, max_length=1024)] | None


class FromAudio(Body):
    type: Literal["audio"]
    audio: AUD


class FromText(Body):
    type: Literal["text"]
    prompt: Prompt
    model: Designer


class NewVoice(Body):
    name: Name
    description: Description = None
    origin: Annotated[FromAudio | FromText, Field(alias="from", discriminator="type")]


class VoiceChange(Body):
    """Absent members stay as they are; description null clears it."""

    name: Name = option()
    description: Description = None


class PreviewOrder(Body):
    prompt: Prompt
    model: Designer


def add(app: FastAPI) -> None:
    app.post("/voices")(create)
    app.get("/voices")(listed)
    app.post("/voices/preview")(preview)
    app.get("/voices/{id}")(retrieve)
    app.patch("/voices/{id}")(update)
    app.delete("/voices/{id}", status_code=204, response_class=Response)(delete)


async def create(body: NewVoice, at: At) -> dict[str, Any]:
    before = await at.first_try()
    if before is not None:
        return {"id": before.parent}
    id, inputs = new_id(), {}
    if isinstance(body.origin, FromAudio):
        asset = await at.gather(body.origin.audio, "audio", ("from", "audio"))
        origin: dict[str, Any] = {"type": "audio", "blob": asset.blob}
        inputs = {"reference": asset.blob}
    else:
        origin = body.origin.model_dump()
    task = await at.order("speech", _words(origin), inputs, MODEL, parent=id)
    if task.parent != id:  # a blind second try of the same request
        return {"id": task.parent}
    voice = Voice(id, at.owner, at.now(), body.name, body.description, origin, "PROCESSING", task=task.id)
    await at.write(lambda c: library.voices.put(c, voice))
    await at.note("voice.create", "voice", id)
    return {"id": id}


async def listed(at: At, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    place = after(cursor)
    rows = await at.read(lambda c: library.voices.listed(c, at.owner, limit + 1, place))
    return page(rows, limit, lambda voice: shown(at, voice), lambda voice: cursor_of(voice.created_s, voice.id))


async def retrieve(id: str, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    return shown(at, await at.read(lambda c: library.voices.get(c, at.owner, id), _WHAT))


async def update(id: str, body: VoiceChange, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    change = body.model_dump(exclude_unset=True)
    voice = await at.write(lambda c: library.voices.change(c, at.owner, id, **change), _WHAT)
    await at.note("voice.update", "voice", id)
    return shown(at, voice)


async def delete(id: str, at: At) -> None:
    checked(id, _WHAT)
    voice = await at.write(lambda c: library.voices.remove(c, at.owner, id), _WHAT)
    if voice.task:
        await at.drop(voice.task)
    await at.services.blobs.remove(f"voices/{id}/")
    await at.note("voice.delete", "voice", id)


async def preview(body: PreviewOrder, at: At) -> dict[str, Any]:
    """How a described voice would sound. Waits for the task that speaks it."""
    task = await at.order("speech", _words({"type": "text", "prompt": body.prompt}), {}, MODEL)
    try:
        async with asyncio.timeout(PREVIEW_LIMIT_S):
            task = await _ended(at, task)
    except TimeoutError:
        await at.services.tasks.remove(at.owner, task.id)
        raise ApiError(503, "The preview is not ready yet: this server is busy. Try again.") from None
    if task.state != "SUCCEEDED" or not task.outputs:
        raise ApiError(400, f"The voice could not be made: {task.failure or 'the task was cancelled'}")
    return {"url": link(at, task.outputs[0]), "durationSecs": float(task.facts["seconds"])}


async def _ended(at: At, task: Task) -> Task:
    async for event in at.services.tasks.watch(at.owner, task.id):
        task = event.task
        if task.state in FINAL:
            break
    return task


def _words(origin: dict[str, Any]) -> dict[str, Any]:
    """The params of a speech job in which a voice says a few words; a recording is its input `reference`."""
    voice = f"described: {origin['prompt']}" if origin["type"] == "text" else "reference"
    return {"text": SAMPLE, "format": "mp3", "voice": voice}


def shown(at: At, voice: Voice) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": voice.id,
        "name": voice.name,
        "description": voice.description,
        "createdAt": stamp(voice.created_s),
        "status": voice.state,
    }
    if voice.state == "READY":
        found["previewUrl"] = link(at, voice.preview)
    if voice.state == "FAILED":
        found["failureReason"] = voice.failure
    return found
