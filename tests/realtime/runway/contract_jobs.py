"""Every kind of job, done at once by writing a few bytes: for tests of the contract in a real server. Words in the
prompt say how it goes: "fails" fails for good, "stays" runs until it is cancelled."""

from __future__ import annotations

import time

from worldstream.realtime.jobs import kinds
from worldstream.realtime.jobs.contract import Job, JobError, JobOrder, JobResult, Output, Tell, Workshop

KINDS = kinds.KINDS
_SOUNDS = {"speech", "sound", "voice_change", "isolate", "soundtrack", "dub"}
_PICTURES = {"still", "upscale_image"}


def _do(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    prompt = str(order.params.get("prompt", ""))
    if "fails" in prompt:
        raise JobError("INPUT_PREPROCESSING.TEST", "It was told to fail.")
    step = 0
    while "stays" in prompt:  # `tell` raises when it is cancelled
        step += 1
        tell(min(0.5, step / 100))
        time.sleep(0.02)
    suffix = "mp3" if order.kind in _SOUNDS else "png" if order.kind in _PICTURES else "mp4"
    media = {"mp3": "audio/mpeg", "png": "image/png", "mp4": "video/mp4"}[suffix]
    paths = [order.folder / f"{index}.{suffix}" for index in range(int(order.params.get("count", 1)))]
    for path in paths:
        path.write_bytes(b"made by a stand-in " * 64)
    return JobResult(
        tuple(Output(path, media) for path in paths), "stand-in", {"inputs": sorted(order.inputs), "seconds": 1.0}
    )


def job_of(name: str) -> Job:
    assert name in KINDS
    return _do
