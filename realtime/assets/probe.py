"""What a received file really is: its format, its size in pixels and its length, looked at and not taken on trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from PIL import Image

from ...worlds.media.limits import LIMITS
from ...worlds.media.sound import READING

MAX_PIXELS = LIMITS.pixels  # of a picture, before it is decoded: what no job could decode is refused at the door
MAX_SIDE_PX = 8192  # of a video
MAX_SECONDS = 600.0
_OPENING = {**READING, "max_pixels": str(MAX_PIXELS)}  # nothing beside the file is opened, no playlist is followed
PICTURES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
VIDEO_CODECS = ("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "prores", "theora")
AUDIO_CODECS = ("mp3", "mp3float", "aac", "flac", "alac", "vorbis", "opus")  # and everything that begins pcm_
_CONTAINERS = {  # FFmpeg's name of a container -> media type with and without pictures; others are refused
    "mov,mp4,m4a,3gp,3g2,mj2": ("video/mp4", "audio/mp4"),
    "matroska,webm": ("video/webm", "audio/webm"),
    "avi": ("video/x-msvideo", ""),
    "mpegts": ("video/mp2t", ""),
    "ogg": ("video/ogg", "audio/ogg"),
    "mp3": ("", "audio/mpeg"),
    "wav": ("", "audio/wav"),
    "flac": ("", "audio/flac"),
    "aac": ("", "audio/aac"),
}


@dataclass(frozen=True, slots=True)
class Probe:
    """`width_px` and `height_px` are 0 for sounds, `seconds` for pictures."""

    media_type: str
    width_px: int = 0
    height_px: int = 0
    seconds: float = 0.0


def probe(path: Path, wanted: str) -> Probe:
    """Look at a file as one of `wanted`: image, video or audio, several joined by "|". Blocks. Raises ValueError in one
    line that says what is wrong with it."""
    kinds = wanted.split("|")
    if "image" in kinds:
        found = _picture(path)
        if found is not None:
            return found
        if kinds == ["image"]:
            raise ValueError("it is not a JPEG, PNG or WebP picture")
    try:
        with av.open(str(path), options=_OPENING, metadata_errors="ignore") as container:
            return _container(container, kinds)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"it is not {' or '.join(kinds)} that can be read") from error


def _picture(path: Path) -> Probe | None:
    try:
        with Image.open(path, formats=list(PICTURES)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(width, height) > LIMITS.side_px:
                raise ValueError(
                    f"it has {width}x{height} pixels; at most {MAX_PIXELS} are taken, and {LIMITS.side_px} a side"
                )
            return Probe(PICTURES[str(image.format)], width, height)
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has too many pixels; at most {MAX_PIXELS} are taken") from error
    except (OSError, SyntaxError):
        return None


def _container(container: InputContainer, kinds: list[str]) -> Probe:
    name = container.format.name
    if name not in _CONTAINERS:
        raise ValueError(f"files of the format {name[:40]} are not taken")
    with_pictures, without = _CONTAINERS[name]
    seconds = _seconds(container)
    pictures = [stream for stream in container.streams.video if stream.codec_context.name not in ("mjpeg", "png")]
    if pictures and "video" in kinds and with_pictures:
        codec = pictures[0].codec_context
        if codec.name not in VIDEO_CODECS:
            raise ValueError(f"videos coded as {codec.name[:40]} are not taken")
        if not (0 < codec.width <= MAX_SIDE_PX and 0 < codec.height <= MAX_SIDE_PX):
            raise ValueError(
                f"its frames have {codec.width}x{codec.height} pixels; at most {MAX_SIDE_PX} a side are taken"
            )
        return Probe(with_pictures, codec.width, codec.height, seconds)
    if container.streams.audio and "audio" in kinds:
        coded = container.streams.audio[0].codec_context.name
        if coded not in AUDIO_CODECS and not coded.startswith("pcm_"):
            raise ValueError(f"sounds coded as {coded[:40]} are not taken")
        return Probe(without or with_pictures, 0, 0, seconds)
    raise ValueError(f"it holds no {' or '.join(kinds)}")


def _seconds(container: InputContainer) -> float:
    seconds = container.duration / av.time_base if container.duration else 0.0
    if seconds <= 0:  # raw streams do not say
        for stream in [*container.streams.video, *container.streams.audio]:
            if stream.duration and stream.time_base:
                seconds = max(seconds, float(stream.duration * stream.time_base))
    if seconds > MAX_SECONDS:
        raise ValueError(f"it lasts {seconds:.0f} s; at most {MAX_SECONDS:.0f} s are taken")
    return seconds
