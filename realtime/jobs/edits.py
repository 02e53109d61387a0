"""Edits of a video: one in, one out, of the same size, pace, length and sound unless the edit is about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...worlds.edit_keyframes import Keyframe
from ...worlds.edit_look import load_look
from ...worlds.edit_plan import Bench, edited
from ...worlds.edits import Edit, EditRefused, EditRequest, survey
from ...worlds.judge import load_judge
from ...worlds.media.limits import MediaError
from ...worlds.media.pictures import read_picture
from ...worlds.media.video_in import Video, read_video
from ...worlds.media.video_out import write_video
from ...worlds.weights import SHIPPED, LoadedWorld
from .clips import asked_references
from .contract import JobError, JobOrder, JobResult, Output, Refused, Tell, Workshop

Picture = NDArray[np.uint8]
LOOKED_THROUGH = 0.1  # of the progress
LEAST_S, MOST_S = 0.2, 60.0


def edit(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Raises JobError on what cannot be done, and lets Cancelled pass; then no file is left."""
    try:
        return _edit(order, workshop, tell)
    except EditRefused as error:
        raise Refused(str(error)) from error
    except MediaError as error:
        raise JobError("ASSET.INVALID", str(error)) from error
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", str(error)) from error


def _edit(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    request = asked(order.params, order.inputs)
    video = read_video(order.file("video"))
    world, report = workshop.world(str(order.params.get("model") or "")), _Report(tell)
    if not isinstance(world, LoadedWorld) and not getattr(world, "guided_by_pictures", False):
        raise Refused(
            f"{getattr(world, 'name', 'this model')} makes no edits; choose an embedded world, such as nano, or a VACE "
            "checkpoint (worldstream models)"
        )
    roughly = video.count or round(float(video.fps) * (video.seconds or 10.0)) or 1
    seen = survey(video, lambda done: report(LOOKED_THROUGH * min(1.0, done / roughly)))
    seconds = seen.count / float(video.fps)
    if not LEAST_S <= seconds <= MOST_S:
        code = "TOO_SHORT" if seconds < LEAST_S else "TOO_LONG"
        raise JobError(
            f"INPUT_PREPROCESSING.{code}", f"a video to edit is {LEAST_S:g} to {MOST_S:g} s long; it is {seconds:.1f} s"
        )
    if isinstance(world, LoadedWorld):
        made = edited(bench_of(world), video, seen, request)
    else:  # VACE: nearly all of its time goes by before a window's first frame
        made = world.edited(video, seen, request, lambda share: report(LOOKED_THROUGH + 0.85 * share))
    output = _written(order, made, video, report)
    tell(1.0)
    return JobResult((output,), world.name, _facts(made, video, seen.shots, request))


class _Report:
    """Progress that never falls: steps of the model and frames written are told in turn."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._most = tell, 0.0

    def __call__(self, fraction: float, preview: Picture | None = None) -> None:
        self._most = max(self._most, fraction)
        self._tell(self._most, preview)


def bench_of(world: LoadedWorld) -> Bench:
    """What edits with this world need; statistics of its own folder go before the shipped ones."""
    own = world.card.path.parent
    return Bench(world, load_judge(own if (own / "judge.safetensors").is_file() else SHIPPED), load_look(SHIPPED))


def _written(order: JobOrder, made: Edit, video: Video, tell: _Report) -> Output:
    done = 0

    def frames() -> Iterator[Picture]:
        nonlocal done
        for picture in made.frames:
            done += 1
            yield picture
            tell(LOOKED_THROUGH + (1 - LOOKED_THROUGH) * min(0.99, done / made.count), picture)

    format = str(order.params.get("format") or "mp4")
    profile = order.params.get("prores_profile")
    path, media_type = write_video(order.folder / "edit", frames(), video.fps, format, profile, video.sound)
    return Output(path, media_type)


def _facts(made: Edit, video: Video, shots: Sequence[int], request: EditRequest) -> dict[str, Any]:
    return {
        "seed": request.seed, "width": made.width, "height": made.height, "frames": made.count,
        "fps": float(video.fps), "operation": made.operation, "strength": request.strength,
        "shots": len(shots), "cuts_at_frames": list(shots[1:]), "notes": [*video.notes, *made.notes], **made.facts(),
    }  # fmt: skip


def asked(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> EditRequest:
    """The request in an order. Raises ValueError or MediaError."""
    references = asked_references(params, inputs)
    keyframes = tuple(_keyframe(k, inputs) for k in params.get("keyframes") or ())
    seconds = params.get("seconds")
    return EditRequest(
        str(params.get("prompt") or ""), str(params.get("operation") or ""), int(params.get("seed") or 0),
        float(params.get("strength", 1.0) if params.get("strength") is not None else 1.0), keyframes,
        str(params.get("aspect") or ""), bool(params.get("outpaint")), None if seconds is None else float(seconds),
        str(params.get("camera") or ""), inputs.get("mask"), references,
    )  # fmt: skip


def _keyframe(raw: Mapping[str, Any], inputs: Mapping[str, Path]) -> Keyframe:
    rgb, at_s = read_picture(_file(raw, inputs)), float(raw["at_s"])
    end = raw.get("end_s")
    return Keyframe(rgb, at_s, float(raw.get("start_s") or 0.0), 1e9 if end is None else float(end))


def _file(raw: Mapping[str, Any], inputs: Mapping[str, Path]) -> Path:
    """Raises ValueError where an order speaks of a file that it does not have."""
    name = str(raw.get("input"))
    if name not in inputs:
        raise ValueError(f"there is no input {name!r}")
    return inputs[name]
