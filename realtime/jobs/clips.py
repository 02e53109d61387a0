"""Clips: words, pictures or a video's end, made into a video of exactly the size and length that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...worlds import film
from ...worlds.clip_words import Moment
from ...worlds.clip_writer import Writer
from ...worlds.clips import ClipRequest, Reference, at_speed, drawn, planned
from ...worlds.first_image import ImageError
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

Picture = NDArray[np.uint8]


def clip(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Draw and encode at once: while the model draws, a thread scales and encodes. Raises JobError on what cannot be
    done, and lets Cancelled pass; then no file is left."""
    request = asked(order.params, order.inputs)
    try:
        world, notes = at_speed(workshop.world(str(order.params.get("model", ""))), request.draft)
        plan = planned(world, request)
    except ImageError as error:
        raise JobError("ASSET.INVALID", str(error)) from error
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", str(error)) from error
    count = len(plan.actions)

    def write(frames: Iterator[Picture]) -> Output:
        path = order.folder / "clip.mp4"
        sized = (fitted(rgb, request.width_px, request.height_px) for rgb in frames)
        film.write_mp4(path, sized, world.fps)
        return Output(path, "video/mp4")

    with Writer(write) as writer:
        for step in drawn(world, plan):
            if step.shown and step.rgb is not None:
                writer.put(np.ascontiguousarray(plan.window.of(step.rgb)))
            preview = None if step.rgb is None else plan.window.of(step.rgb)
            tell((step.done + writer.taken) / (step.of + count), preview)
        output = writer.finish()
    tell(1.0)
    facts = {
        "seed": request.seed, "width": request.width_px, "height": request.height_px, "frames": count,
        "fps": world.fps, "steps": world.steps, "notes": [*notes, *plan.notes],
        **plan.window.facts(world.width_px, world.height_px, request.width_px, request.height_px),
    }  # fmt: skip
    return JobResult((output,), world.name, facts)


def fitted(rgb: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)


def asked(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> ClipRequest:
    """The request in an order. Raises JobError."""
    moments: Sequence[Mapping[str, Any]] = params.get("moments") or ()
    return ClipRequest(
        str(params.get("prompt") or ""),
        float(params["seconds"]),
        int(params["width"]),
        int(params["height"]),
        int(params.get("seed") or 0),
        str(params.get("camera") or ""),
        tuple(Moment(float(m["at_s"]), str(m["prompt"])) for m in moments),
        inputs.get("first"),
        inputs.get("last"),
        tuple(Reference(inputs[r["input"]], str(r.get("tag") or "")) for r in params.get("references") or ()),
        bool(params.get("draft")),
    )
