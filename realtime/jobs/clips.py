"""Clips: words, pictures or a video's end, made into a video of exactly the size and length that was asked for.

Beside the params of `kinds.py`: `model` names a world of this machine; `joined` (true unless said) puts the video that
is extended before what is drawn, else the file holds the new part alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...worlds.clip_words import Moment
from ...worlds.clip_writer import Writer
from ...worlds.clips import ClipRequest, Reference, at_speed, drawn, facts, finished, planned
from ...worlds.media.formats import film_format
from ...worlds.media.video_out import write_video
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

Picture = NDArray[np.uint8]
SMALL_PX = 400_000  # frames up to this many pixels cost little to encode well


def clip(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Draw and encode at once. Raises JobError on what cannot be done and lets Cancelled pass; then no file is left."""
    params = order.params
    try:
        film_format(str(params.get("format") or "mp4"), params.get("prores_profile"))  # before anything is drawn
        request = asked(params, order.inputs)
        world, notes = at_speed(workshop.world(str(params.get("model") or "")), request.draft)
        plan = planned(world, request)
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", str(error)) from error
    small = request.width_px * request.height_px <= SMALL_PX
    count = len(plan.route)

    def write(frames: Iterator[Picture]) -> Output:
        path, media_type = write_video(
            order.folder / "clip", finished(plan, frames, world.fps), world.fps, str(params.get("format") or "mp4"),
            params.get("prores_profile"), preset=None if small else "ultrafast",
        )  # fmt: skip
        return Output(path, media_type)

    with Writer(write) as writer:
        for step in drawn(world, plan):
            if step.shown and step.rgb is not None:
                writer.put(step.rgb)
            tell(min(1.0, (step.done + writer.taken) / (step.of + count)), step.rgb)
        output = writer.finish()
    tell(1.0)
    known = facts(world, request, plan)
    return JobResult((output,), world.name, {**known, "notes": [*notes, *known["notes"]]})


def asked(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> ClipRequest:
    """The request in an order. Raises ValueError."""
    moments = tuple(Moment(float(m["at_s"]), str(m["prompt"])) for m in params.get("moments") or ())
    return ClipRequest(
        str(params.get("prompt") or ""), float(params["seconds"]), int(params["width"]), int(params["height"]),
        int(params.get("seed") or 0), str(params.get("camera") or ""), moments, inputs.get("first"),
        inputs.get("last"), asked_references(params, inputs), inputs.get("extend"),
        bool(params.get("joined", True)), bool(params.get("draft")),
    )  # fmt: skip


def asked_references(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> tuple[Reference, ...]:
    """The references of an order. Raises ValueError where one has no file."""
    given = params.get("references") or ()
    missing = [str(r.get("input")) for r in given if r.get("input") not in inputs]
    if missing:
        raise ValueError(f"there is no input {', '.join(missing)} for the references")
    return tuple(Reference(inputs[r["input"]], str(r.get("tag") or "")) for r in given)
