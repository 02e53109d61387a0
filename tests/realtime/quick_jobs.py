"""Kinds of jobs for the tests of the queue: quick, and as bad as they are told to be."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from worldstream.realtime.jobs.contract import Job, JobError, JobOrder, JobResult, Output, Tell, Workshop
from worldstream.realtime.jobs.kinds import Kind

FINDER = "tests.realtime.quick_jobs:job_of"


def write(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """One small file; `steps` chunks of `step_s` each. What its inputs hold comes first."""
    steps, step_s = int(order.params.get("steps", 1)), float(order.params.get("step_s", 0.0))
    for step in range(steps):
        tell(step / steps, np.full((36, 64, 3), 40 + step, np.uint8) if order.params.get("shows") else None)
        time.sleep(step_s)
        if "beats" in order.params:
            with Path(order.params["beats"]).open("a") as beats:
                beats.write(f"{time.time()}\n")
    path = order.folder / "anything.txt"
    given = b"".join(file.read_bytes() for _, file in sorted(order.inputs.items()))
    path.write_bytes(given + order.params.get("says", order.id).encode())
    return JobResult((Output(path, "text/plain"),), "quick", {"pid": os.getpid(), "steps": steps})


def fail(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """As `code` says; from attempt `until` on, counted in the file `tally`, it goes well."""
    tally = Path(order.params["tally"])
    count = len(tally.read_text()) + 1 if tally.exists() else 1
    tally.write_text("x" * count)
    if count >= int(order.params.get("until", 99)):
        return write(order, workshop, tell)
    code = order.params["code"]
    if code == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if code == "exit":
        os._exit(3)
    if code == "raise":
        raise RuntimeError("secret detail")
    if code == "facts":
        return JobResult((), "quick", {"bad": float("nan")})
    if code == "escape":
        return JobResult((Output(Path("/etc/hostname"), "text/plain"),), "quick")
    if code == "nothing":
        return JobResult((), "quick")
    raise JobError(code, f"It failed with {code}.")


def deaf(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Tells once, and then never listens."""
    tell(0.1)
    time.sleep(60.0)
    return write(order, workshop, tell)


def loud(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Prints as libraries do, and is impatient with its progress."""
    print('{"done": {}}', flush=True)
    os.write(1, b"not a report\n")
    for fraction in (0.5, 0.2, 0.7, 0.7, 2.0):
        tell(fraction)
        time.sleep(0.06)
    return write(order, workshop, tell)


_JOBS: dict[str, Job] = {"write": write, "fail": fail, "deaf": deaf, "loud": loud, "heavy": write}
KINDS = {name: Kind(name, "", "heavy" if name == "heavy" else "light") for name in _JOBS}


def job_of(name: str) -> Job:
    return _JOBS[name]
