"""Avatars: somebody to talk to. The picture is fitted by a light task; until that has ended the avatar is PROCESSING
and cannot be changed (409)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Response
from pydantic import Field

from ...avatars.audio.voices import LIVE_PRESETS
from ..store import library
from ..store.library import Avatar, Voice
from .bodies import IMG, Body, many, one_of, option
from .desk import At, Desk, checked, new_id
from .documents import within_budget
from .errors import ApiError, invalid
from .links import link
from .lists import DAY_S, Cursor, Limit, after, day_of, moment
from .pages import cursor_of, page, stamp
from .value_sets import LIVE_VOICES

PORTRAIT_PX = (1088, 704)  # what the contract recommends for reference pictures
USAGE_DAYS = 366  # that one question about usage may span
# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

_WHAT = "An avatar with this id"


class LivePreset(Body):
    type: Literal["runway-live-preset"]
    presetId: one_of(*LIVE_VOICES)


class CustomVoice(Body):
    type: Literal["custom"]
    id: Annotated[str, Field(min_length=1, max_length=60)]


AvatarVoice = Annotated[LivePreset | CustomVoice, Field(discriminator="type")]
Name = Annotated[str, Field(min_length=1, max_length=50)]
Personality = Annotated[str, Field(min_length=1, max_length=10_000)]
StartScript = Annotated[str, Field(max_length=2000)]
DocumentIds = many(Annotated[str, Field(max_length=60)], 50)
Processing = Literal["optimize", "none"]


class NewAvatar(Body):
    name: Name
    referenceImage: IMG
    personality: Personality
    voice: AvatarVoice
    startScript: StartScript = option()
    documentIds: DocumentIds = option([])
    imageProcessing: Processing = option("optimize")


class AvatarChange(Body):
    """Absent members stay as they are; startScript null clears it."""

    name: Name = option()
    referenceImage: IMG = option()
    personality: Personality = option()
    voice: AvatarVoice = option()
    startScript: StartScript | None = None
    documentIds: DocumentIds = option()
    imageProcessing: Processing = option()


def add(app: FastAPI) -> None:
    app.post("/avatars")(create)
    app.get("/avatars")(listed)
    app.get("/avatars/{id}")(retrieve)
    app.patch("/avatars/{id}")(update)
    app.delete("/avatars/{id}", status_code=204, response_class=Response)(delete)
    app.get("/avatar_usage")(usage)


async def create(body: NewAvatar, at: At) -> dict[str, Any]:
    now = at.now()
    avatar = Avatar(
        id=new_id(),
        owner=at.owner,
        created_s=now,
        updated_s=now,
        name=body.name,
        personality=body.personality,
        start_script=body.startScript,
        voice=body.voice.model_dump(),
        documents=list(dict.fromkeys(body.documentIds)),
        reference="",
        processing=body.imageProcessing,
        state="PROCESSING",
    )
    await at.read(lambda c: _check(c, avatar))
    before = await at.first_try()
    if before is not None:
        return await _answer(at, await at.read(lambda c: library.avatars.get(c, at.owner, before.parent), _WHAT))
    avatar, first = await _begin(at, avatar, body.referenceImage)
    if first != avatar.id:  # a blind second try of the same request
        return await _answer(at, await at.read(lambda c: library.avatars.get(c, at.owner, first), _WHAT))

    def work(connection: Any) -> None:
        _check(connection, avatar)  # again: things may have gone while the picture was fetched
        library.avatars.put(connection, avatar)

    await at.write(work)
    await at.note("avatar.create", "avatar", avatar.id)
    return await _answer(at, avatar)


async def listed(at: At, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    place = after(cursor)

    def work(connection: Any) -> list[tuple[Avatar, Voice | None]]:
        rows = library.avatars.listed(connection, at.owner, limit + 1, place)
        return [(a, library.voice_of(connection, a)) for a in rows]

    rows = await at.read(work)
    return page(rows, limit, lambda row: shown(at, *row), lambda row: cursor_of(row[0].created_s, row[0].id))


async def retrieve(id: str, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    return await _answer(at, await at.read(lambda c: library.avatars.get(c, at.owner, id), _WHAT))


async def update(id: str, body: AvatarChange, at: At) -> dict[str, Any]:
    checked(id, _WHAT)
    before = await at.read(lambda c: _settled(c, at.owner, id), _WHAT)
    wanted = _changed(before, body, at.now())
    await at.read(lambda c: _check(c, wanted))
    fitting: dict[str, Any] = {}
    if body.model_fields_set & {"referenceImage", "imageProcessing"}:
        ordered, _ = await _begin(at, wanted, body.referenceImage or "")
        fitting = {"reference": ordered.reference, "task": ordered.task, "state": "PROCESSING", "failure": ""}

    def work(connection: Any) -> Avatar:
        now = _settled(connection, at.owner, id, hold=True)  # another change may have come first
        after_change = replace(_changed(now, body, at.now()), **fitting)
        _check(connection, after_change)
        return library.avatars.replace(connection, after_change)

    avatar = await at.write(work, _WHAT)
    await at.note("avatar.update", "avatar", id)
    return await _answer(at, avatar)


def _changed(avatar: Avatar, body: AvatarChange, now: float) -> Avatar:
    """With the members that were given, but for the picture."""
    given = body.model_fields_set
    values: dict[str, Any] = {"updated_s": max(now, avatar.updated_s)}
    for member, column in (("name", "name"), ("personality", "personality"), ("startScript", "start_script")):
        if member in given:
            values[column] = getattr(body, member)
    if "voice" in given:
        values["voice"] = body.voice.model_dump()
    if "documentIds" in given:
        values["documents"] = list(dict.fromkeys(body.documentIds))
    if "imageProcessing" in given:
        values["processing"] = body.imageProcessing
    return replace(avatar, **values)


async def delete(id: str, at: At) -> None:
    checked(id, _WHAT)
    avatar = await at.write(lambda c: library.avatars.remove(c, at.owner, id), _WHAT)
    if avatar.task:
        await at.drop(avatar.task)
    await at.services.blobs.remove(f"avatars/{avatar.id}/")
    await at.note("avatar.delete", "avatar", id)


async def usage(
    at: At,
    start: Annotated[str, Query(alias="startDate", min_length=10, max_length=40)],
    end: Annotated[str, Query(alias="endDate", min_length=10, max_length=40)],
) -> dict[str, Any]:
    """Talks whose media ran, by the day on which they began; every day of the range is there."""
    from_s, until_s = moment(start, "startDate"), moment(end, "endDate", ends_day=True)
    if until_s < from_s:
        raise invalid(["endDate"], "must not lie before startDate")
    if until_s - from_s > USAGE_DAYS * DAY_S:
        raise invalid(["endDate"], f"must lie at most {USAGE_DAYS} days after startDate", "too_big")
    ran = await at.read(lambda c: library.ran_between(c, at.owner, from_s, until_s))
    days: dict[str, list[int]] = {}
    for day in range(int((until_s - from_s) // DAY_S) + 1):
        days[day_of(min(from_s + day * DAY_S, until_s))] = []
    for talk in ran:
        assert talk.started_s is not None
        length = (talk.ended_s if talk.ended_s is not None else at.now()) - talk.started_s
        days.setdefault(day_of(talk.started_s), []).append(round(length))
    seconds = [s for each in days.values() for s in each]
    return {
        "totalSessions": len(seconds),
        "totalSeconds": sum(seconds),
        "avgDurationSeconds": round(sum(seconds) / len(seconds)) if seconds else 0,
        "byDay": [{"date": day, "sessions": len(each), "seconds": sum(each)} for day, each in sorted(days.items())],
    }


def _settled(connection: Any, owner: str, id: str, hold: bool = False) -> Avatar:
    """The avatar, which may be changed. Raises KeyError, or a 409."""
    avatar = library.avatars.get(connection, owner, id, hold=hold)
    if avatar.state == "PROCESSING":
        raise ApiError(409, "This avatar is still being processed; change it when its status is READY or FAILED.")
    return avatar


def _check(connection: Any, avatar: Avatar) -> None:
    """Raises a 400 where its voice or documents are not the owner's, or there is too much to know."""
    within_budget(connection, avatar.owner, avatar.documents, ["documentIds"])
    if avatar.voice["type"] == "custom":
        voice = library.voice_of(connection, avatar)
        if voice is None:
            raise invalid(["voice", "id"], f"There is no voice {avatar.voice['id']!a}.")
        if voice.state == "FAILED":
            raise invalid(["voice", "id"], f"This voice could not be made: {voice.failure}")


async def _begin(at: Desk, avatar: Avatar, uri: str) -> tuple[Avatar, str]:
    """Receive the picture, where one is given, and order its fitting; and for which avatar that was ordered first."""
    reference = avatar.reference
    if uri:
        asset = await at.gather(uri, "image", ("referenceImage",))
        reference = asset.blob
    width, height = PORTRAIT_PX
    params = {"width": width, "height": height, "processing": avatar.processing}
    task = await at.order("portrait", params, {"image": reference}, "gwm1_avatars", parent=avatar.id)
    return replace(avatar, reference=reference, task=task.id), task.parent


async def _answer(at: Desk, avatar: Avatar) -> dict[str, Any]:
    return shown(at, avatar, await at.read(lambda c: library.voice_of(c, avatar)))


def shown(at: Desk, avatar: Avatar, voice: Voice | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": avatar.id,
        "name": avatar.name,
        "personality": avatar.personality,
        "startScript": avatar.start_script,
        "voice": _voice(avatar.voice, voice),
        "referenceImageUri": link(at, avatar.reference),
        "processedImageUri": link(at, avatar.portrait),
        "documentIds": avatar.documents,
        "createdAt": stamp(avatar.created_s),
        "updatedAt": stamp(avatar.updated_s),
        "status": avatar.state,
    }
    return found | ({"failureReason": avatar.failure} if avatar.state == "FAILED" else {})


def _voice(given: dict[str, Any], voice: Voice | None) -> dict[str, Any]:
    if given["type"] == "runway-live-preset":
        name = given["presetId"]
        return {**given, "name": name.capitalize(), "description": LIVE_PRESETS[name].description}
    if voice is None:
        return {"type": "custom", "id": given["id"], "deleted": True}
    about = {"name": voice.name} | ({"description": voice.description} if voice.description is not None else {})
    return {"type": "custom", "id": voice.id, "deleted": False, **about}
