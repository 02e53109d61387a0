"""The endpoints that generate: what they take, and which order it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Union

import fastapi
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict

from ..services import Caller
from . import other_models, own_models, picture_orders, sound_orders, video_orders
from .asking import caller
from .bodies import Body
from .ordering import Mapper, Order, create


class Cost(BaseModel):
    credits: float


class Created(BaseModel):
    """The reply of every endpoint here. `metadata` is this server's: which model was asked for, what was ignored."""

    model_config = ConfigDict(extra="allow")
    id: str
    estimatedCost: Cost


async def performance(order: Order) -> None:
    """character_performance."""
    order.kind = "performance"
    order.refuse_if_absent()


async def avatar_video(order: Order) -> None:
    """avatar_videos."""
    order.kind = "avatar_video"
    order.refuse_if_absent()


async def robot_video(order: Order) -> None:
    """robotics_action_to_video."""
    order.kind = "robot_video"
    order.refuse_if_absent()


def _with(own: list[type[Body]], endpoint: str = "", table: dict[str, Any] | None = None) -> tuple[type[Body], ...]:
    return (*own, *other_models.classes(endpoint, table or {}))


own, other = own_models, other_models
ENDPOINTS: dict[str, tuple[tuple[type[Body], ...], Mapper]] = {
    "text_to_video": (_with([own.TextToVideo], "TextToVideo", other.TEXT_TO_VIDEO), video_orders.clip_of_words),
    "image_to_video": (
        _with(
            [own.ImageToVideo, own.ImageToVideoTurbo, own.ImageToVideoThree, own.ImageToVideoRobotics],
            "ImageToVideo",
            other.IMAGE_TO_VIDEO,
        ),
        video_orders.clip_of_picture,
    ),
    "video_to_video": (
        _with(
            [own.VideoToVideo, own.VideoToVideoAleph, own.VideoToVideoRobotics], "VideoToVideo", other.VIDEO_TO_VIDEO
        ),
        video_orders.edit,
    ),
    "text_to_image": (
        _with([own.TextToImage, own.TextToImageTurbo], "TextToImage", other.TEXT_TO_IMAGE),
        picture_orders.still,
    ),
    "character_performance": (_with([own.CharacterPerformance]), performance),
    "image_upscale": (_with([], "ImageUpscale", other.IMAGE_UPSCALE), picture_orders.upscale),
    "video_upscale": (
        _with([own.FrameRate, own.VideoUpscale], "VideoUpscale", other.VIDEO_UPSCALE),
        video_orders.upscale,
    ),
    "video_to_hdr": (_with([own.VideoToHdr]), video_orders.hdr),
    "video_to_audio": (_with([], "VideoToAudio", other.VIDEO_TO_AUDIO), sound_orders.soundtrack),
    "text_to_speech": (_with([], "TextToSpeech", other.TEXT_TO_SPEECH), sound_orders.speech),
    "sound_effect": (_with([], "SoundEffect", other.SOUND_EFFECT), sound_orders.effect),
    "speech_to_speech": (_with([own.SpeechToSpeech]), sound_orders.voice_change),
    "voice_dubbing": (_with([own.VoiceDubbing]), sound_orders.dub),
    "voice_isolation": (_with([own.VoiceIsolation]), sound_orders.isolation),
    "avatar_videos": (_with([own.AvatarVideo]), avatar_video),
    "robotics_action_to_video": (_with([own.RobotAction]), robot_video),
}


def add(app: FastAPI) -> None:
    for name, (classes, mapper) in ENDPOINTS.items():
        _add(app, name, classes, mapper)


def _add(app: FastAPI, name: str, classes: Sequence[type[Body]], mapper: Mapper) -> None:
    kind: Any = Union[tuple(classes)] if len(classes) > 1 else classes[0]  # noqa: UP007 - as many as there are
    told_apart = fastapi.Body(discriminator="model") if len(classes) > 1 else fastapi.Body()

    async def endpoint(request: Request, body: Any, who: Annotated[Caller, Depends(caller)]) -> dict[str, Any]:
        return await create(request, who, body, mapper)

    endpoint.__annotations__["body"] = Annotated[kind, told_apart]
    endpoint.__name__ = name
    app.post(f"/{name}", response_model=Created, operation_id=name, summary=mapper.__doc__)(endpoint)
