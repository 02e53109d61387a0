"""Pictures from words: one or several, each by the next seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...worlds.media.pictures import FORMATS, QUALITY, write_picture
from ...worlds.media.upscaler import load_upscaler
from ...worlds.stills import StillRequest, drawn, facts, planned, sized
from .clips import asked_references
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

QUALITIES = {
    "very_low": 60, "low": 75, "medium": 88, "high": QUALITY, "xhigh": 96, "max": 100, "auto": QUALITY,
}  # fmt: skip


def still(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Raises JobError on what cannot be done, and lets Cancelled pass; then no file is left."""
    params = order.params
    format = str(params.get("format") or "png")
    try:
        quality = asked_quality(params.get("quality"))
        if format not in FORMATS:
            raise ValueError(f"there is no picture format {format!r}; there are {', '.join(FORMATS)}")
        request = asked(params, order.inputs)
        world = workshop.world(str(params.get("model") or ""))
        plan = planned(world, request)
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", str(error)) from error
    made: list[Output] = []
    upscaler = load_upscaler()
    try:
        for i, rgb in enumerate(drawn(world, plan)):
            tell((i + 0.5) / request.count, rgb)
            made.append(Output(*write_picture(order.folder / f"{i}", sized(plan, rgb, upscaler), format, quality)))
            tell((i + 1) / request.count)
    except BaseException:
        for output in made:
            output.path.unlink(missing_ok=True)
        raise
    return JobResult(tuple(made), world.name, facts(world, plan))


def asked(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> StillRequest:
    """The request in an order. Raises ValueError."""
    if missing := [name for name in ("width", "height") if params.get(name) is None]:
        raise ValueError(f"a picture needs {', '.join(missing)}")
    return StillRequest(
        str(params.get("prompt") or ""), int(params["width"]), int(params["height"]), int(params.get("seed") or 0),
        int(params.get("count") or 1), asked_references(params, inputs),
    )  # fmt: skip


def asked_quality(given: Any) -> int:
    """Of JPEG and WebP, 1 to 100: a number, or one of the names that clients use. Raises ValueError."""
    if given is None:
        return QUALITY
    if isinstance(given, str):
        if given not in QUALITIES:
            raise ValueError(f"there is no quality {given!r}; there are {', '.join(QUALITIES)}, and 1 to 100")
        return QUALITIES[given]
    if not 1 <= int(given) <= 100:
        raise ValueError(f"the quality of a picture is 1 to 100, got {given}")
    return int(given)
