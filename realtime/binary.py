"""One picture as a binary WebSocket frame: a header of 24 bytes, then the payload. Part of the wire protocol."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from .errors import MalformedMessage

KIND_JPEG = 1
KIND_H264 = 2
FLAG_KEYFRAME = 1
_HEADER = struct.Struct("<BBHIIfd")  # kind, flags, 0, frame, input, server_ms, media_time
HEADER_BYTES = _HEADER.size  # 24


@dataclass(frozen=True, slots=True)
class Picture:
    """One binary WebSocket frame."""

    kind: int  # KIND_JPEG or KIND_H264
    keyframe: bool
    frame: int
    input: int
    server_ms: float
    media_time: float  # seconds
    payload: bytes


def encode_picture(picture: Picture) -> bytes:
    """Header and payload. Raises ValueError on a number that does not fit its field."""
    flags = FLAG_KEYFRAME if picture.keyframe else 0
    try:
        header = _HEADER.pack(
            picture.kind, flags, 0, picture.frame, picture.input, picture.server_ms, picture.media_time
        )
    except (struct.error, OverflowError) as error:
        raise ValueError(f"picture {picture.frame} does not fit its header: {error}") from None
    return header + picture.payload


def decode_picture(data: bytes) -> Picture:
    """The inverse of `encode_picture`. Raises MalformedMessage."""
    if len(data) < HEADER_BYTES:
        raise MalformedMessage(f"a picture has a header of {HEADER_BYTES} bytes; got {len(data)}")
    kind, flags, zero, frame, input_id, server_ms, media_time = _HEADER.unpack_from(data)
    if kind not in (KIND_JPEG, KIND_H264) or zero != 0 or flags & ~FLAG_KEYFRAME:
        raise MalformedMessage(f"unknown picture kind {kind}, flags {flags}")
    if not (math.isfinite(server_ms) and math.isfinite(media_time)):
        raise MalformedMessage("a picture's times must be finite")
    return Picture(kind, bool(flags & FLAG_KEYFRAME), frame, input_id, server_ms, media_time, data[HEADER_BYTES:])
