"""What the bodies of the video endpoints mean to the jobs of this machine: clips, edits, finishing."""

from __future__ import annotations

from typing import Any

from .errors import invalid
from .models import surcharge
from .ordering import Order
from .sizes import aspect_of, short_side, size_of

USUAL_SECONDS = 5.0
MAX_CLIP_SECONDS = 60.0
EDIT_SECONDS = (2.0, 30.0)
_SECONDS_SLACK = 0.1  # of a container's rounding


async def clip_of_words(order: Order) -> None:
    """text_to_video."""
    await _clip(order, (0, 0))


async def clip_of_picture(order: Order) -> None:
    """image_to_video."""
    size = await _prompt_image(order)
    await _clip(order, size)


async def _clip(order: Order, source: tuple[int, int]) -> None:
    order.kind = "clip"
    order.refuse_if_absent()
    _refuse_recordings(order, videos=True)
    width, height = size_of(order.take("ratio", ""), order.take("resolution", ""), source)
    words = order.take("promptText", "")
    seconds = _shots(order)
    duration = order.take("duration", "auto")
    if seconds is None:
        seconds = USUAL_SECONDS if duration == "auto" else float(duration)
    draft = bool(order.take("draft", False)) or order.alias.draft or None
    order.seed()
    await _references(order)
    video_format, profile = _format(order)
    order.put(prompt=words, seconds=seconds, width=width, height=height, draft=draft)
    order.put(audio=bool(order.take("audio", False)) or None)
    order.put(format=video_format, prores_profile=profile)
    extra = surcharge(video_format or "mp4", width, height)
    order.credits = order.alias.cost(seconds=seconds, surcharge=extra)


def _format(order: Order) -> tuple[str | None, str | None]:
    found = order.take("outputFormat")
    if found == "mov":  # of other makers: a container; ours of that name is ProRes
        found = "prores"
    return found, order.take("proresProfile")


def _shots(order: Order) -> float | None:
    """Several prompts one after another become moments of one clip: their length, None where there are none."""
    settings = order.take("providerSettings") or {}
    shots = settings.get("multiPrompt") or []
    if not shots:
        return None
    at_s, moments = 0.0, []
    for shot in shots:
        moments.append({"at_s": at_s, "prompt": shot["prompt"]})
        at_s += shot["duration"]
    if at_s > MAX_CLIP_SECONDS:
        raise invalid(
            ["providerSettings", "multiPrompt"], f"{at_s:g} s in all; at most {MAX_CLIP_SECONDS:g} s", "too_big"
        )
    order.put(moments=moments)
    return at_s


async def _prompt_image(order: Order) -> tuple[int, int]:
    """First and last pictures, or references where a list says no places; gives the size of the first."""
    given = order.take("promptImage")
    images = [{"uri": given, "position": "first"}] if isinstance(given, str) else given
    size = (0, 0)
    references: list[dict[str, str]] = []
    for index, image in enumerate(images):
        path = ("promptImage",) if isinstance(given, str) else ("promptImage", index, "uri")
        place = image.get("position") or ("first" if len(images) == 1 else f"ref{len(references)}")
        if place == "middle":
            raise invalid(["promptImage", index, "position"], "no local model takes a picture for the middle of a clip")
        if place in order.inputs:
            raise invalid(["promptImage", index, "position"], f"there are two {place} pictures")
        asset = await order.gather(place, image["uri"], "image", *path)
        size = size if all(size) else (asset.width_px, asset.height_px)
        if place.startswith("ref"):
            references.append({"input": place, "tag": f"image_{index + 1}"})
    order.put(references=references or None)
    return size


async def _references(order: Order) -> None:
    """Further pictures, spoken of by their tags."""
    given = order.take("references") or []
    found: list[dict[str, Any]] = list(order.params.get("references", []))
    for index, image in enumerate([{"uri": given}] if isinstance(given, str) else given):
        name = f"ref{len(found)}"
        path = ("references",) if isinstance(given, str) else ("references", index, "uri")
        await order.gather(name, image["uri"], "image", *path)
        found.append({"input": name, "tag": image.get("tag") or f"image_{len(found) + 1}"})
    order.put(references=found or None)


def _refuse_recordings(order: Order, *, videos: bool) -> None:
    """Raises a 400 about reference videos and sounds, which no local model follows: left out silently they would make
    something else than was asked for."""
    for member in ("referenceVideos", "referenceAudio"):
        if (videos or member == "referenceAudio") and order.take(member):
            raise invalid([member], f"no local model follows {member}; leave it out")


async def edit(order: Order) -> None:
    """video_to_video."""
    order.kind = "edit"
    order.refuse_if_absent()
    _refuse_recordings(order, videos=True)
    member = "promptVideo" if "promptVideo" in order.sent else "videoUri"
    video = await order.gather("video", order.take(member), "video", member)
    _within(video.seconds, EDIT_SECONDS, member)
    order.put(prompt=order.take("promptText"), aspect=_aspect(order))
    if order.take("mode") == "extend":
        order.put(operation="extend", seconds=_extension(order))
    order.seed()
    await _keyframes(order, video.seconds)
    await _references(order)
    video_format, profile = _format(order)
    order.put(format=video_format, prores_profile=profile)
    extra = surcharge(video_format or "mp4", video.width_px, video.height_px)
    order.credits = order.alias.cost(seconds=order.params.get("seconds", video.seconds), surcharge=extra)


def _aspect(order: Order) -> str | None:
    target = order.take("targetAspectRatio")
    if order.model.startswith("aleph2"):
        order.take("ratio")  # any string, and ignored, as the contract says
        return target
    return target or aspect_of(order.take("ratio", "")) or None


def _extension(order: Order) -> float:
    duration = order.take("duration", "auto")
    return USUAL_SECONDS if duration == "auto" else float(duration)


async def _keyframes(order: Order, seconds: float) -> None:
    found = []
    older = order.take("promptImage")  # of older clients
    given = order.take("keyframes") or []
    if older is not None:
        uri = older if isinstance(older, str) else older[0]["uri"]
        await order.gather("key0", uri, "image", "promptImage")
        found.append({"input": "key0", "at_s": 0.0})
    for index, keyframe in enumerate(given):
        at_s = keyframe["at"] * seconds if "at" in keyframe else keyframe["seconds"]
        if at_s > seconds + _SECONDS_SLACK:
            raise invalid(["keyframes", index, "seconds"], f"the video lasts {seconds:.2f} s", "too_big")
        name = f"key{len(found)}"
        await order.gather(name, keyframe["uri"], "image", "keyframes", index, "uri")
        span = keyframe.get("range")
        limits = {"start_s": float(span["start_seconds"]), "end_s": float(span["end_seconds"])} if span else {}
        found.append({"input": name, "at_s": min(float(at_s), seconds), **limits})
    order.put(keyframes=found or None)


async def hdr(order: Order) -> None:
    """video_to_hdr."""
    order.kind = "hdr"
    order.refuse_if_absent()
    video = await order.gather("video", order.take("videoUri"), "video", "videoUri")
    video_format = order.take("outputFormat", "hdr10")
    order.put(format=video_format, prores_profile=order.take("proresProfile"))
    order.credits = order.alias.cost(seconds=video.seconds)


async def upscale(order: Order) -> None:
    """video_upscale, which is also where frame rates are changed."""
    rate = order.take("targetFramerate")
    order.kind = "frame_rate" if rate else "upscale_video"
    order.refuse_if_absent()
    video = await order.gather("video", order.take("videoUri"), "video", "videoUri")
    if rate:
        order.put(rate=rate)
    else:
        _upscaled(order, video.width_px, video.height_px)
    order.credits = order.alias.cost(seconds=video.seconds)


def _upscaled(order: Order, width: int, height: int) -> None:
    resolution = order.take("resolution")
    if resolution:
        factor = short_side(resolution) / min(width, height)
        if factor < 1:
            raise invalid(["resolution"], f"the video has {width}x{height} pixels already")
        order.put(width=2 * round(width * factor / 2), height=2 * round(height * factor / 2))
    else:
        order.put(factor=4 if order.model == "upscale_v1" else 2)
    sharpen, grain = order.take("sharpen"), order.take("smartGrain")
    order.put(sharpen=None if sharpen is None else sharpen / 100, grain=None if grain is None else grain / 100)
    order.put(boost_fps=order.take("fpsBoost"))


def _within(seconds: float, limits: tuple[float, float], member: str) -> None:
    least, most = limits
    if not least - _SECONDS_SLACK <= seconds <= most + _SECONDS_SLACK:
        code = "too_small" if seconds < least else "too_big"
        raise invalid([member], f"The video lasts {seconds:.2f} s; {least:g} to {most:g} s are taken", code)
