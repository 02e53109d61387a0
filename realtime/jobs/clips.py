"""Clips: words, pictures or a video's end, made into a video of exactly the size and length that was asked for.

Beside the params of `kinds.py`: `model` names a world of this machine; `joined` (true unless said) puts the video that
is extended before what is drawn, else the file holds the new part alone; `audio` (false) adds effects for what is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...avatars.audio.sightings import Watched
from ...worlds.clip_pictures import Reference
from ...worlds.clip_words import Moment
from ...worlds.clip_writer import Writer
from ...worlds.clips import ClipPlan, ClipRequest, at_speed, drawn, facts, finished, planned
from ...worlds.media.formats import film_format
from ...worlds.media.video_out import write_video
from .clip_sound import after, heard, laid_under, watching
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

Picture = NDArray[np.uint8]
SMALL_PX = 400_000  # frames up to this many pixels cost little to encode well
FAST = "ultrafast"  # of x264, for larger ones: on enlarged frames as good as the others at a tenth of their time
MOST_DRAWN = 0.99  # the rest is the end of the file


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
    film, seen = _filmed(order, world, request, plan, tell)
    silent = film.media_type == "application/zip"
    sound, effects, more = (None, (), ()) if seen is None else heard(seen, request.prompt, request.seed)
    whole = None if silent else after(plan, world.fps, sound)
    if whole is not None:
        film = laid_under(order, film, whole)
    if silent and seen is not None:
        more = (*more, "sequences of pictures are delivered without sound")
    tell(1.0)
    known = facts(world, request, plan)
    return JobResult((film,), world.name, {**known, "effects": effects, "notes": [*notes, *known["notes"], *more]})


def _filmed(
    order: JobOrder, world: Any, request: ClipRequest, plan: ClipPlan, tell: Tell
) -> tuple[Output, Watched | None]:
    """(the film without sound, what it shows where a sound is wanted). A thread finishes and encodes the frames while
    the model draws the next ones, another one looks at them."""
    params, count = order.params, len(plan.route)
    preset = None if request.width_px * request.height_px <= SMALL_PX else FAST

    def write(frames: Iterator[Picture]) -> Output:
        film = finished(plan, frames, world.fps)
        format, profile = str(params.get("format") or "mp4"), params.get("prores_profile")
        return Output(*write_video(order.folder / "clip", film, world.fps, format, profile, preset=preset))

    with ExitStack() as threads:
        writer = threads.enter_context(Writer(write))
        viewer = threads.enter_context(Writer(partial(watching, world))) if params.get("audio") else None
        for step in drawn(world, plan, lambda share: tell(0.5 * share)):
            if step.shown and step.rgb is not None:
                writer.put(step.rgb)
                if viewer is not None:
                    viewer.put(step.rgb)
            tell(min(MOST_DRAWN, (step.done + writer.taken) / (step.of + count)), step.rgb)
        return writer.finish(), None if viewer is None else viewer.finish()


def asked(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> ClipRequest:
    """The request in an order. Raises ValueError."""
    if missing := [name for name in ("seconds", "width", "height") if params.get(name) is None]:
        raise ValueError(f"a clip needs {', '.join(missing)}")
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
