"""Jobs for the tests of the Studio page: of every kind that it orders, drawn in no time. Signed as real ones are."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldstream.realtime.jobs.contract import Job, JobError, JobOrder, JobResult, Output, Tell, Workshop
from worldstream.realtime.jobs.governed import governed
from worldstream.realtime.jobs.kinds import Kind
from worldstream.worlds.media.pictures import write_picture
from worldstream.worlds.media.sound import Sound, write_sound
from worldstream.worlds.media.video_out import write_video

FRAMES = 12


def frame(step: int, seed: int) -> NDArray[np.uint8]:
    rgb = np.full((72, 128, 3), 30 + 12 * step, np.uint8)
    rgb[:, : 8 * step + 1, 1] = 200
    rgb[..., 2] = seed % 256
    return rgb


def facts(order: JobOrder, **more: Any) -> dict[str, Any]:
    return {"seed": order.params.get("seed", 0), "inputs": sorted(order.inputs), "notes": ["drawn by a test"], **more}


def clip(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    words = str(order.params.get("prompt", ""))
    if "impossible" in words:
        raise JobError("INPUT_PREPROCESSING.INVALID", "Nobody can draw the impossible.")
    slow_s, seed = 0.5 if "slow" in words else 0.03, int(order.params.get("seed", 0))
    frames = []
    for step in range(FRAMES):
        frames.append(frame(step, seed))
        tell((step + 1) / (FRAMES + 1), frames[-1])
        time.sleep(slow_s)
    path, media_type = write_video(order.folder / "0", iter(frames), Fraction(25))
    return JobResult((Output(path, media_type),), "test-world", facts(order, width=128, height=72))


def still(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    seed = int(order.params.get("seed", 0))
    outputs = tuple(
        Output(*write_picture(order.folder / f"{i}", frame(i, seed), "png"))
        for i in range(int(order.params.get("count", 1)))
    )
    return JobResult(outputs, "test-world", facts(order, width=128, height=72))


def sound(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    samples = np.zeros((1, 4800), np.float32)
    path, media_type = write_sound(order.folder / "0", Sound(samples, 48_000), "wav")
    return JobResult((Output(path, media_type),), "test-voice", facts(order))


_JOBS: dict[str, Job] = {
    "clip": clip, "edit": clip, "upscale_video": clip, "frame_rate": clip, "soundtrack": clip,
    "still": still, "upscale_image": still, "sound": sound, "speech": sound,
}  # fmt: skip
KINDS = {name: Kind(name, "", "heavy" if name in ("clip", "edit") else "light") for name in _JOBS}


def job_of(name: str) -> Job:
    return governed(_JOBS[name])
