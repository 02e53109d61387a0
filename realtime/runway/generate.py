"""generate/video, image and audio: a request that names no model but a router, which chooses one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ..store import routers as store
from ..store.routers import Router
from ..tasks import FINAL
from .bodies import (
    AUD,
    FLAG,
    IMG,
    SEED,
    VID,
    Body,
    ContentModeration,
    by_member,
    many,
    number,
    one_of,
    option,
    whole,
    words,
)
from .desk import At, Desk
from .errors import ApiError, Issue
from .models import Catalogue
from .ordering import create
from .parts import KeyframeAtFraction, KeyframeAtSeconds, VoiceOfRecording
from .routers import SLUG, note_decision
from .routing import PROVIDER, Candidate, Choice, Preferences, candidates, choose, preferences, resolved
from .value_sets import VOICES

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

ConfigId = Annotated[str, Field(min_length=1, max_length=64, pattern=SLUG)]
_WHENCE = {  # members of a model's body -> members of the input that they were made of
    "promptImage": "referenceImages",
    "references": "referenceImages",
    "videoUri": "referenceVideos",
    "promptVideo": "referenceVideos",
    "ratio": "aspectRatio",
}
_LOOKED_AT = 200  # of an owner's newest tasks, for how many of a model go on


class RoledImage(Body):
    uri: IMG
    role: Literal["first", "last", "reference"]


class RoledVideo(Body):
    uri: VID
    role: Literal["source", "reference"]


class BareImage(Body):
    uri: IMG


class BareAudio(Body):
    uri: AUD


class VideoInput(Body):
    promptText: words(6000) = option()
    negativePrompt: words(1000) = option()
    referenceImages: many(RoledImage, 4) = option()
    referenceVideos: many(RoledVideo, 2) = option()
    referenceAudio: many(BareAudio, 1) = option()
    keyframes: many(by_member(("seconds", KeyframeAtSeconds), ("at", KeyframeAtFraction)), 5) = option()
    duration: whole(2, 30) = option()
    aspectRatio: one_of("16:9", "9:16", "1:1", "4:3", "3:4", "21:9") = option()
    resolution: one_of("480p", "720p", "1080p", "4k") = option()
    audio: FLAG = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()

    @model_validator(mode="after")
    def roles_fit(self) -> VideoInput:
        given = self.sent()
        roles = Counter(each["role"] for name in ("referenceImages", "referenceVideos") for each in given.get(name, ()))
        for role in ("first", "last", "source"):
            if roles[role] > 1:
                raise PydanticCustomError("custom", "at most one {role} is allowed", {"role": role})
        if given.get("keyframes") and not roles["source"]:
            raise PydanticCustomError("custom", "keyframes need a referenceVideo with the role source")
        return self


class ImageInput(Body):
    promptText: words(32_000)
    referenceImages: many(BareImage, 16) = option()
    aspectRatio: one_of("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "2:3", "3:2", "4:5", "5:4") = option()
    resolution: one_of("1k", "2k", "4k") = option()
    outputCount: whole(1, 10) = option()
    seed: SEED = option()
    contentModeration: ContentModeration = option()


class NamedVoice(Body):
    type: Literal["preset"]
    presetId: one_of(*VOICES)


class AudioInput(Body):
    type: Literal["speech", "audio"]
    promptText: words(5000)
    voice: Annotated[NamedVoice | VoiceOfRecording, Field(discriminator="type")] = option()
    referenceAudios: many(BareAudio, 3) = option()
    duration: number(0.5, 30) = option()
    loop: FLAG = option()


class VideoOrder(Body):
    configId: ConfigId
    input: VideoInput


class ImageOrder(Body):
    configId: ConfigId
    input: ImageInput


class AudioOrder(Body):
    configId: ConfigId
    input: AudioInput


def add(app: FastAPI) -> None:
    app.post("/generate/video")(video)
    app.post("/generate/image")(image)
    app.post("/generate/audio")(audio)


async def video(body: VideoOrder, at: At) -> dict[str, Any]:
    return await _generate(at, "video", body.configId, body.input.sent())


async def image(body: ImageOrder, at: At) -> dict[str, Any]:
    return await _generate(at, "image", body.configId, body.input.sent())


async def audio(body: AudioOrder, at: At) -> dict[str, Any]:
    return await _generate(at, "audio", body.configId, body.input.sent())


async def _generate(at: Desk, modality: str, slug: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    router = await _router(at, slug)
    asked = preferences(router.settings, modality)
    choice = await _choice(at, modality, wanted, asked)
    if choice.chosen is None:
        await note_decision(
            at, router, status="no_eligible_model", pipeline=list(choice.pipeline), emptiedBy=[choice.emptied_by]
        )
        more = {"code": "no_eligible_model", "pipeline": list(choice.pipeline), "emptiedBy": [choice.emptied_by]}
        raise ApiError(400, f"No model is left after the filter {choice.emptied_by}.", more=more)
    made = await _create(at, router, choice, choice.chosen)
    routing: dict[str, Any] = {
        "model": choice.chosen.name,
        "provider": PROVIDER,
        "configId": slug,
        "resolvedSettings": {"optimizeFor": asked.optimize_for, "priceCeiling": asked.ceiling},
        "resolvedInput": resolved(modality, wanted, choice.chosen),
        "estimatedCost": made["estimatedCost"],
    }
    if choice.skipped or choice.all_exhausted:
        routing["capacityFallback"] = {"skipped": list(choice.skipped), "allExhausted": choice.all_exhausted}
    return {"id": made["id"], "routing": routing, "metadata": made["metadata"]}


async def _router(at: Desk, slug: str) -> Router:
    try:
        return await at.services.database.read(lambda c: store.by_slug(c, at.owner, slug))
    except KeyError:
        more = {"code": "router_config_not_found"}
        raise ApiError(404, f"There is no router with the slug {slug!r}.", more=more) from None


async def _choice(at: Desk, modality: str, wanted: Mapping[str, Any], asked: Preferences) -> Choice:
    catalogue: Catalogue = at.request.app.state.catalogue
    busy: Counter[str] = Counter()
    if asked.on_capacity:
        newest = await at.services.tasks.listed(at.owner, _LOOKED_AT)
        busy.update(task.model for task in newest if task.state not in FINAL)

    def full(name: str) -> bool:
        return busy[name] >= catalogue.of(name).concurrency

    def work() -> Choice:  # some dozens of bodies are checked
        return choose(candidates(modality, wanted, catalogue), asked, catalogue, full)

    return await asyncio.to_thread(work)


async def _create(at: Desk, router: Router, choice: Choice, chosen: Candidate) -> dict[str, Any]:
    """The task, by the way of the chosen model's own endpoint; what came of it goes into the router's log."""
    assert chosen.body is not None
    told: dict[str, Any] = {
        "model": chosen.name,
        "provider": PROVIDER,
        "reason": choice.reason,
        "reasonCode": choice.reason_code,
        "pipeline": list(choice.pipeline),
    }
    at.request.state.asked_model = chosen.name
    try:
        made = await create(at.request, at.who, chosen.body, chosen.mapper)
    except ApiError as error:
        status = "invalid_request" if error.status == 400 else "error"
        await note_decision(at, router, status=status, estimatedCredits=chosen.credits, **told)
        raise ApiError(error.status, error.error, [_renamed(issue) for issue in error.issues], error.more) from error
    credits = made["estimatedCost"]["credits"]
    await note_decision(at, router, status="routed", estimatedCredits=credits, taskId=made["id"], **told)
    return made


def _renamed(issue: Issue) -> Issue:
    """An issue about a model's own body, said of the input that was sent."""
    first, *rest = issue.path or ("",)
    if first in ("videoUri", "promptVideo"):
        rest = [0, "uri"]
    return Issue(issue.code, ("input", _WHENCE.get(str(first), str(first)), *rest), issue.message)
