"""A process that does jobs, one at a time, for its server: `python -m worldstream.realtime.jobs.process`.

Orders come in on standard input and reports go out on standard output, one JSON object a line:

    in   {"order": {id, kind, params, inputs, folder}}   {"cancel": id}   {"calm": {"threads": 1, "paused": false}}
         {"warm": true}
    out  {"ready": pid}   {"progress": 0.25}   {"progress": 0.3, "preview": base64 of a JPEG}
         {"done": {outputs, model, facts}}   {"failed": {code, message}}   {"cancelled": id}

It ends with its input, that is, with the server, however that died. What a job prints goes to standard error.
"""

from __future__ import annotations

import base64
import ctypes
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...worlds.machine import cores
from .contract import Cancelled, Job, JobError, JobOrder, JobResult, Workshop
from .workshop import OneWorkshop

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # of prctl(2)
NICENESS = 10  # the live world goes first, also where nothing tells us to be calm
KILL_ME_FIRST = 500  # oom_score_adj: where memory ends, a job dies rather than the server
PROGRESS_GAP_S = 0.05
PREVIEW_GAP_S = 0.25
PREVIEW_WIDTH_PX = 384


@dataclass(frozen=True, slots=True)
class Calm:
    """How much a process may take of the machine while somebody plays live."""

    threads: int = 0  # of torch; 0: as many as it was started with
    paused: bool = False


class Reporter:
    """The `Tell` of one job: reports, waits where it is paused, and ends the job that nobody wants any more."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None], clock: Callable[[], float]) -> None:
        self._send, self._clock = send, clock
        self._change = threading.Condition()
        self._cancelled, self._calm, self._threads = False, Calm(), 0
        self._fraction, self._told_s, self._shown_s = 0.0, -1e9, -1e9

    def cancel(self) -> None:
        """From any thread."""
        with self._change:
            self._cancelled = True
            self._change.notify_all()

    def be(self, calm: Calm) -> None:
        """From any thread."""
        with self._change:
            self._calm = calm
            self._change.notify_all()

    def __call__(self, fraction: float, preview: NDArray[np.uint8] | None = None) -> None:
        with self._change:
            self._change.wait_for(lambda: self._cancelled or not self._calm.paused)
            if self._cancelled:
                raise Cancelled
            threads = self._calm.threads
        if threads != self._threads:
            self._threads = threads
            use_threads(threads)
        self._report(min(1.0, max(self._fraction, float(fraction))), preview)

    def _report(self, fraction: float, preview: NDArray[np.uint8] | None) -> None:
        now_s = self._clock()
        message: dict[str, Any] = {"progress": fraction}
        if preview is not None and now_s - self._shown_s >= PREVIEW_GAP_S:
            message["preview"] = base64.b64encode(small_jpeg(preview)).decode()
            self._shown_s = now_s
        elif now_s - self._told_s < PROGRESS_GAP_S or fraction == self._fraction:
            return
        self._fraction, self._told_s = fraction, now_s
        self._send(message)


def use_threads(threads: int) -> None:
    """Of torch, where a job brought it in; on the thread that runs the model, as OpenMP asks."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads or int(os.environ.get("OMP_NUM_THREADS", cores())))


def small_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """`uint8[H, W, 3]` as a JPEG no wider than a preview."""
    import cv2

    height, width = rgb.shape[:2]
    if width > PREVIEW_WIDTH_PX:
        size = (PREVIEW_WIDTH_PX, max(1, round(height * PREVIEW_WIDTH_PX / width)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert done, rgb.shape
    return bytes(jpeg)


def outcome(order: JobOrder, job: Callable[[], Job], workshop: Workshop, tell: Reporter) -> dict[str, Any]:
    """Do a job and say what came of it; nothing that it raises leaves."""
    try:
        report = {"done": _as_dict(job()(order, workshop, tell))}
        json.dumps(report, allow_nan=False)  # facts that nobody could be told are the job's failure, not the process's
        return report
    except Cancelled:
        return {"cancelled": order.id}
    except JobError as error:
        return {"failed": {"code": error.code, "message": error.message}}
    except Exception as error:
        logger.exception("job %s of task %s failed", order.kind, order.id)
        kind = type(error).__name__
        text = "There was not enough memory." if isinstance(error, MemoryError) else f"The job broke off ({kind})."
        return {"failed": {"code": "INTERNAL", "message": text + f" The server's log says more under {order.id}."}}


def _as_dict(result: JobResult) -> dict[str, Any]:
    outputs = [{"path": str(output.path), "media_type": output.media_type} for output in result.outputs]
    return {"outputs": outputs, "model": result.model, "facts": dict(result.facts)}


class JobServer:
    """Reads orders on one thread, does them on the main one."""

    def __init__(self, orders: IO[str], reports: IO[str], find: Callable[[str], Job], workshop: Workshop) -> None:
        self._orders, self._reports, self._find, self._workshop = orders, reports, find, workshop
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        self._next: JobOrder | None = None
        self._current: tuple[str, Reporter] | None = None
        self._warm = False
        self._calm = Calm()

    def run(self) -> None:
        """Until the input ends, which ends the process at once, whatever it is doing."""
        threading.Thread(target=self._listen, name="worldstream-orders", daemon=True).start()
        self.send({"ready": os.getpid()})
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._next is not None or self._warm)
                order, self._next, self._warm = self._next, None, False
            if order is None:
                self._warm_up()
                continue
            with self._arrived:
                assert self._current is not None
                tell = self._current[1]
            report = outcome(order, lambda kind=order.kind: self._find(kind), self._workshop, tell)  # type: ignore[misc]
            with self._arrived:
                self._current = None
            self.send(report)

    def _warm_up(self) -> None:
        """What most jobs need. Trouble is told by the job that meets it again."""
        with suppress(Exception):
            self._find("clip")
            self._workshop.world()

    def send(self, message: Mapping[str, Any]) -> None:
        with self._lock, suppress(BrokenPipeError):  # the server is gone, and so are we in a moment
            self._reports.write(json.dumps(message) + "\n")
            self._reports.flush()

    def _listen(self) -> None:
        for line in self._orders:
            self._hear(json.loads(line))
        os._exit(0)

    def _hear(self, message: Mapping[str, Any]) -> None:
        with self._arrived:
            if "order" in message:
                self._next = _order(message["order"])
                reporter = Reporter(self.send, time.monotonic)
                reporter.be(self._calm)
                self._current = (self._next.id, reporter)
                self._arrived.notify()
            elif "warm" in message:
                self._warm = True
                self._arrived.notify()
            elif "calm" in message:
                self._calm = Calm(**message["calm"])
                if self._current is not None:
                    self._current[1].be(self._calm)
            elif self._current is not None and self._current[0] == message.get("cancel"):
                self._current[1].cancel()


def _order(found: Mapping[str, Any]) -> JobOrder:
    inputs = {name: Path(path) for name, path in found["inputs"].items()}
    return JobOrder(found["id"], found["kind"], found["params"], inputs, Path(found["folder"]))


def finder(place: str) -> Callable[[str], Job]:
    """The function behind `module:name` that finds the job of a kind, e.g. kinds.job_of."""
    module, _, name = place.partition(":")
    found: Callable[[str], Job] = getattr(importlib.import_module(module), name)
    return found


def _settle_in(parent: int) -> None:
    """Go after everybody else, and not outlive the server."""
    with suppress(OSError, AttributeError):  # other systems: the end of the input ends us
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    with suppress(OSError):
        os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(KILL_ME_FIRST))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us


def main() -> None:
    """`argv[1]` is JSON: parent, finder, data, engine, log_level."""
    given = json.loads(sys.argv[1])
    _settle_in(given["parent"])
    logging.basicConfig(level=given["log_level"], format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # a library that prints must not speak to the server
    JobServer(orders, reports, finder(given["finder"]), OneWorkshop(Path(given["data"]), given["engine"])).run()


if __name__ == "__main__":
    main()
