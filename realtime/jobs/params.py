"""What the params of every kind look like: whatever a client sends, a job reads numbers where it wants numbers.

The table says what `kinds.py` says in words. What a value means, and which values go together, each job checks itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .contract import JobError, JobOrder

Check = Callable[[Any], bool]
MOST = 1e15
MOST_LISTED = 200


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST and math.isfinite(value)
    )


def whole(value: Any) -> bool:
    """Seeds go up to 2^63."""
    if isinstance(value, float):
        return number(value) and value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 63


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def record(value: Any) -> bool:
    return isinstance(value, Mapping)


def grade(value: Any) -> bool:
    return text(value) or whole(value)


def voice(value: Any) -> bool:
    return text(value) or record(value)


def listed(needed: Mapping[str, Check], more: Mapping[str, Check]) -> Check:
    """A list of objects with these members; those of `more` may be absent."""

    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            check(value[name]) if value.get(name) is not None else name in more
            for name, check in {**needed, **more}.items()
        )

    return lambda value: (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) <= MOST_LISTED
        and all(fits(each) for each in value)
    )


_REFERENCES = listed({"input": text}, {"tag": text})
_KEYFRAMES = listed({"input": text, "at_s": number}, {"start_s": number, "end_s": number})
_MOMENTS = listed({"at_s": number, "prompt": text}, {})
_WORDS: Mapping[Check, str] = {
    text: "text",
    number: "a number",
    whole: "a whole number",
    flag: "true or false",
    record: "an object",
    grade: "a name or a whole number",
    voice: "a name or an object",
    _REFERENCES: 'a list like [{"input": "ref0", "tag": "hero"}]',
    _KEYFRAMES: 'a list like [{"input": "key0", "at_s": 1.0}]',
    _MOMENTS: 'a list like [{"at_s": 2.0, "prompt": "…"}]',
}
_FILM: Mapping[str, Check] = {"format": text, "prores_profile": text}
_SIZE: Mapping[str, Check] = {"width": whole, "height": whole}
_UPSCALE: Mapping[str, Check] = {
    **_SIZE, "factor": number, "resolution": text, "sharpen": number, "detail": number, "grain": number, "format": text,
}  # fmt: skip
PARAMS: Mapping[str, Mapping[str, Check]] = {
    "clip": {
        "prompt": text, "seconds": number, **_SIZE, "seed": whole, "camera": text, "moments": _MOMENTS,
        "references": _REFERENCES, "draft": flag, "model": text, "audio": flag, "joined": flag, **_FILM,
    },
    "still": {
        "prompt": text, **_SIZE, "seed": whole, "references": _REFERENCES, "count": whole, "model": text,
        "format": text, "quality": grade,
    },
    "edit": {
        "seed": whole, "prompt": text, "operation": text, "keyframes": _KEYFRAMES, "aspect": text, "outpaint": flag,
        "strength": number, "seconds": number, "camera": text, "references": _REFERENCES, "model": text, **_FILM,
    },
    "upscale_image": _UPSCALE,
    "upscale_video": {**_UPSCALE, "boost_fps": flag, **_FILM},
    "frame_rate": {"rate": text, **_FILM},
    "hdr": _FILM,
    "speech": {
        "text": text, "voice": voice, "language": text, "speed": number, "volume": number,
        "pitch": number, "rate_hz": whole, "format": text,
    },
    "sound": {
        "prompt": text, "seconds": number, "loop": flag, "variants": whole, "negative": text, "volume": number,
        "rate_hz": whole, "format": text, "seed": whole,
    },
    "voice_change": {"voice": voice, "remove_noise": flag, "format": text, "rate_hz": whole},
    "isolate": {"format": text, "rate_hz": whole},
    "soundtrack": {
        "seconds": number, "prompt": text, "negative": text, "variants": whole, "format": text, "keep_speech": flag,
        "mux": flag, "seed": whole, "rate_hz": whole,
    },
    "dub": {"language": text, "clone": flag, "drop_background": flag, "speakers": whole, "format": text},
    "join": {**_SIZE, **_FILM},
    "portrait": {**_SIZE, "processing": text},
    "workflow": {"graph": record, "values": record},
}  # fmt: skip
NEEDED: Mapping[str, tuple[str, ...]] = {
    "clip": ("seconds", "width", "height"), "still": ("width", "height"), "workflow": ("graph",),
}  # fmt: skip
FILES: Mapping[str, str] = {"edit": "video", "portrait": "image"}  # that the other kinds name themselves


def check(order: JobOrder) -> None:
    """Raises JobError that names the first param, or the file, that is missing or is not what it should be."""
    known = PARAMS.get(order.kind, {})
    for name in NEEDED.get(order.kind, ()):
        if order.params.get(name) is None:
            raise JobError("INPUT_PREPROCESSING.INVALID", f"a {order.kind} needs {name}, {_named(known[name])}")
    for name, fits in known.items():
        value = order.params.get(name)
        if value is not None and not fits(value):
            raise JobError("INPUT_PREPROCESSING.INVALID", f"{name} must be {_named(fits)}, got {_short(value)}")
    file = FILES.get(order.kind)
    if file is not None:
        order.file(file)


def _named(fits: Check) -> str:
    return _WORDS[fits]


def _short(value: Any) -> str:
    said = ascii(value)
    return said if len(said) <= 60 else said[:57] + "..."
