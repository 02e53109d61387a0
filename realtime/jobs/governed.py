"""Jobs with what every server owes its surroundings: a look at what is asked for before, and a signature after.

`governed_job_of` is what job processes find their jobs with. Operators set, in the environment:

    WORLDSTREAM_MODERATION      off, phrases (default) or endpoint; see governance/moderation.py
    WORLDSTREAM_PROVENANCE      off, plain (which model, which seed) or full (default: the words too)
    WORLDSTREAM_CERTIFICATE     PEM chain that signs, with WORLDSTREAM_CERTIFICATE_KEY; else one that is self-made
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...worlds.media.video_in import read_video
from ..config import version
from ..governance.certificate import FOLDER, CertificateError, Credential, credential
from ..governance.moderation import Moderator, PhraseModerator, check_frame, check_order, moderator
from ..governance.provenance import (
    COMPOSED,
    DRAWN,
    ENHANCED,
    PROCEDURAL,
    Claim,
    Provenance,
    ProvenanceError,
)
from .contract import Job, JobError, JobOrder, JobResult, Output, Tell, Workshop
from .kinds import job_of

SOURCE_TYPES = {
    "clip": DRAWN, "still": DRAWN, "edit": COMPOSED, "join": COMPOSED, "soundtrack": COMPOSED, "workflow": COMPOSED,
    "portrait": ENHANCED, "upscale_image": ENHANCED, "upscale_video": ENHANCED, "frame_rate": ENHANCED, "hdr": ENHANCED,
    "voice_change": ENHANCED, "isolate": ENHANCED, "speech": PROCEDURAL, "sound": PROCEDURAL, "dub": COMPOSED,
}  # fmt: skip
SETTINGS = ("moderation", "moderation_url", "moderation_key", "moderation_model")
LOOKED_AT = 3  # frames of a film


def governed_job_of(name: str) -> Job:
    """`kinds.job_of`, governed. Raises ValueError on an unknown kind."""
    return governed(job_of(name))


def governed(job: Job) -> Job:
    """A job with a look before it and a signature after it."""

    def whole(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
        look = _moderator(workshop)
        if look is not None:
            check_order(look, order.params, order.inputs)
        result = job(order, workshop, tell)
        if look is not None and not isinstance(look, PhraseModerator):  # which does not look at pictures
            for output in result.outputs:
                _look_at(look, output)
        return signed(result, order, workshop)

    return whole


def _moderator(workshop: Workshop) -> Moderator | None:
    settings = {f"WORLDSTREAM_{name.upper()}": workshop.setting(name) for name in SETTINGS}
    try:
        return moderator(workshop.data, settings)
    except ValueError as error:
        raise JobError("INTERNAL", str(error)) from None


def _look_at(look: Moderator, output: Output) -> None:
    kind = output.media_type.partition("/")[0]
    if kind == "image":
        found = cv2.imread(str(output.path))
        frames = [] if found is None else [np.asarray(found, np.uint8)]
    elif kind == "video":
        video = read_video(output.path)
        every = max(1, (video.count or 1) // LOOKED_AT)
        frames = [np.ascontiguousarray(rgb[..., ::-1]) for i, rgb in enumerate(video.frames()) if i % every == 0]
        frames = frames[:LOOKED_AT]
    else:
        return
    for bgr in frames:
        side = max(bgr.shape[:2])
        small = cv2.resize(bgr, None, fx=768 / side, fy=768 / side) if side > 768 else bgr
        check_frame(look, cv2.imencode(".jpg", small)[1].tobytes())


def signed(result: JobResult, order: JobOrder, workshop: Workshop) -> JobResult:
    """The result with its files signed and a fact that says so. Raises JobError where signing fails: what cannot say
    where it comes from is not handed out."""
    how = workshop.setting("provenance") or "full"
    if how == "off":
        return replace(result, facts={**result.facts, "provenance": "off"})
    try:
        provenance = Provenance(_credential(workshop), version())
        claim = Claim(
            result.model,
            SOURCE_TYPES.get(order.kind, DRAWN),
            _facts(order, result.facts, how == "full"),
            tuple(order.inputs.values()),
        )
        carried = [provenance.sign(output.path, claim) for output in result.outputs]
    except (CertificateError, ProvenanceError) as error:
        raise JobError("INTERNAL", str(error)) from None
    return replace(result, facts={**result.facts, "provenance": "signed" if all(carried) else "not in this format"})


def _credential(workshop: Workshop) -> Credential:
    chain, key = workshop.setting("certificate"), workshop.setting("certificate_key")
    return credential(workshop.data / FOLDER, Path(chain) if chain else None, Path(key) if key else None)


def _facts(order: JobOrder, facts: Mapping[str, Any], full: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": order.kind, "task": order.id}
    for name in ("seed", "width", "height", "seconds", "operation", "voice"):
        value = facts.get(name, order.params.get(name))
        if value not in (None, ""):
            told[name] = value
    if full:
        told |= {name: order.params[name] for name in ("prompt", "text", "camera") if order.params.get(name)}
    return told
