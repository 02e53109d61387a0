"""The server's end of a job process: starts it, gives it one order at a time, and hears how it goes."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...worlds.machine import model_threads
from .contract import Cancelled, JobError, JobOrder, JobResult, Output
from .process import Calm

logger = logging.getLogger(__name__)

FINDER = "worldstream.realtime.jobs.kinds:job_of"
LINE_BYTES = 8 * 2**20  # of a report: a preview, or the facts of a long job
Heard = Callable[[float, bytes | None], None]  # fraction, JPEG of a frame as it forms


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """How a job process is started."""

    data: Path
    finder: str = FINDER  # what finds the job of a kind; tests bring their own
    engine: str = "auto"
    log_level: str = "INFO"
    threads: int = field(default_factory=model_threads)  # a core stays for the server


class Crashed(JobError):
    """The process ended under a job. Worth another attempt: it may have been another's doing."""

    def __init__(self, status: int | None) -> None:
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        super().__init__("INTERNAL", f"The process that worked on this task ended ({how}).")


class JobProcess:
    """One process, started at the first order and again after a crash. Lives on the event loop."""

    def __init__(self, config: ProcessConfig) -> None:
        self._config = config
        self._process: asyncio.subprocess.Process | None = None
        self._order: str | None = None
        self._calm = Calm()
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return None if self._process is None else self._process.pid

    async def run(self, order: JobOrder, heard: Heard) -> JobResult:
        """Do one job. Raises JobError, Cancelled, or Crashed where the process died of it."""
        assert self._order is None, f"{self._order} goes on"
        self._order = order.id
        try:
            process = await self._started()
            self._send({"order": _as_dict(order)})
            return await self._hear(process, heard)
        except asyncio.CancelledError:  # a time limit, or the server stops: what the process still does is unwanted
            await self.close()
            raise
        finally:
            self._order = None

    async def warm(self) -> None:
        """Start the process and have it load what most jobs need, so that the next order need not wait for that."""
        if self._process is None and self._order is None:
            await self._started()
            self._send({"warm": True})

    def cancel(self) -> None:
        """Ask the job to end; it does within a chunk."""
        if self._order is not None and self._process is not None:
            self._send({"cancel": self._order})

    def be(self, calm: Calm) -> None:
        """Take less, or wait, while somebody plays live."""
        if calm != self._calm:
            self._calm = calm
            if self._process is not None:
                self._send({"calm": asdict(calm)})

    def kill(self) -> None:
        """At once; a job that goes on ends as Crashed."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return self._process
            return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        given = {
            "parent": os.getpid(),
            "finder": self._config.finder,
            "data": str(self._config.data),
            "engine": self._config.engine,
            "log_level": self._config.log_level,
        }
        # A session of its own: Ctrl-C in a terminal reaches the server alone, which then ends its jobs in order.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "worldstream.realtime.jobs.process", json.dumps(given),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES, env=self._environment(), start_new_session=True,
        )  # fmt: skip
        self._process = process
        if self._calm != Calm():
            self._send({"calm": asdict(self._calm)})
        return process

    def _environment(self) -> dict[str, str]:
        package = sys.modules[__name__.partition(".")[0]].__file__  # of worldstream itself, installed or in a checkout
        assert package is not None
        paths = [str(Path(package).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = str(self._config.threads)
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads}

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():  # else it is gone, which `_hear` finds out
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _hear(self, process: asyncio.subprocess.Process, heard: Heard) -> JobResult:
        assert process.stdout is not None
        async for line in process.stdout:
            report = json.loads(line)
            if "progress" in report:
                preview = report.get("preview")
                heard(report["progress"], base64.b64decode(preview) if preview else None)
            elif "done" in report:
                return _result(report["done"])
            elif "failed" in report:
                raise JobError(report["failed"]["code"], report["failed"]["message"])
            elif "cancelled" in report:
                raise Cancelled
        status = await process.wait()
        if self._process is process:
            self._process = None
        raise Crashed(status)


def _as_dict(order: JobOrder) -> dict[str, Any]:
    inputs = {name: str(path) for name, path in order.inputs.items()}
    found = {"id": order.id, "kind": order.kind, "params": dict(order.params), "inputs": inputs}
    return found | {"folder": str(order.folder)}


def _result(found: Mapping[str, Any]) -> JobResult:
    outputs = tuple(Output(Path(output["path"]), output["media_type"]) for output in found["outputs"])
    return JobResult(outputs, found["model"], found["facts"])
