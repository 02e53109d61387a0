"""One attempt at one task: inputs out of the blobs, the job in its process, outputs into the blobs, the end."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .blobs import suffix_of
from .config import TaskConfig
from .jobs.contract import Cancelled, JobError, JobOrder, JobResult, Output
from .jobs.pool import JobProcess
from .services import Blobs
from .tasks import Task, TaskEvent

if TYPE_CHECKING:
    from .store.database import Database
    from .store.tasks import Claim, TaskRows

logger = logging.getLogger(__name__)

LEAST_TO_GUESS = 0.02  # of the work must be done before the rest is estimated


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of a server works with."""

    database: Database
    rows: TaskRows
    blobs: Blobs
    config: TaskConfig
    server: str
    scratch: Path
    clock: Callable[[], float]  # Unix time
    tell: Callable[[TaskEvent], None]


class Attempt:
    """Lives on the event loop."""

    def __init__(self, bench: Bench, claim: Claim, process: JobProcess) -> None:
        self._bench, self._claim, self._process = bench, claim, process
        self._began: tuple[float, float] | None = None  # time and fraction of the first report, to estimate the rest
        self._unwanted = self._over = False
        self._killer: asyncio.TimerHandle | None = None
        self.fraction = claim.task.progress  # never falls, not from one attempt to the next either
        self._written = self.fraction

    @property
    def _folder(self) -> Path:
        return self._bench.scratch / f"{self._claim.task.id}-{self._claim.attempt}"

    @property
    def _prefix(self) -> str:
        return f"outputs/{self._claim.task.id}/{self._claim.attempt}/"

    def cancel(self) -> None:
        """Nobody wants it any more: the job ends within a chunk, or its process does after the grace."""
        if not self._unwanted and not self._over:  # its process may have another job by now
            self._unwanted = True
            self._process.cancel()
            grace_s = self._bench.config.cancel_grace_s
            self._killer = asyncio.get_running_loop().call_later(grace_s, self._process.kill)

    async def run(self) -> Task | None:
        """The task as it is afterwards; None where it is this server's no more. Raises only where the database does,
        or where the server stops."""
        self._bench.tell(TaskEvent(self._claim.task))
        flusher = asyncio.create_task(self._flush())
        try:
            return await self._concluded()
        finally:
            self._over = True
            flusher.cancel()
            if self._killer is not None:
                self._killer.cancel()
            await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _concluded(self) -> Task | None:
        try:
            result = await self._worked()
            keys = await self._kept(result)
        except (JobError, Cancelled) as error:
            return None if self._unwanted else await self._failed(error)
        facts = {**result.facts, "ran": result.model}
        ending = {"state": "SUCCEEDED", "progress": 1.0, "outputs": keys, "facts": facts}
        return await self._finish(ending)

    async def _worked(self) -> JobResult:
        """Raises JobError, Cancelled."""
        task, limit_s = self._claim.task, self._bench.config.limit_s
        order = JobOrder(task.id, task.kind, task.params, await self._inputs(), self._folder / "out")
        if self._unwanted:
            raise Cancelled
        try:
            async with asyncio.timeout(limit_s):
                return await self._process.run(order, self._heard)
        except TimeoutError:
            raise TooLong(f"The task took longer than {limit_s:g} s, the limit of this server.") from None

    async def _inputs(self) -> dict[str, Path]:
        await asyncio.to_thread(_fresh_folders, self._folder)
        found = {}
        for name, key in self._claim.inputs.items():
            path = self._folder / "in" / f"{name}{Path(key).suffix}"
            try:
                await self._bench.blobs.fetch(key, path)
            except KeyError:
                raise JobError("ASSET.INVALID", f"The file of {name} is not kept any more; send it again.") from None
            except OSError as error:
                raise JobError("INTERNAL", f"The file of {name} could not be read: {error.strerror}.") from None
            found[name] = path
        return found

    async def _kept(self, result: JobResult) -> list[str]:
        """Move the outputs into the blobs; returns their keys. Raises JobError."""
        keys = []
        for number, output in enumerate(result.outputs):
            await asyncio.to_thread(_check, output, self._folder / "out")
            key = f"{self._prefix}{number}{suffix_of(output.media_type)}"
            try:
                await self._bench.blobs.put(key, output.path, output.media_type)
            except Exception as error:  # of the disk or the store
                logger.exception("an output of task %s could not be kept", self._claim.task.id)
                await self._discard()
                raise JobError("INTERNAL", f"An output could not be kept ({type(error).__name__}).") from None
            keys.append(key)
        if not keys:
            raise JobError("INTERNAL.BAD_OUTPUT", "The job made nothing.")
        return keys

    async def _discard(self) -> None:
        try:
            await self._bench.blobs.remove(self._prefix)
        except Exception:
            logger.exception("outputs under %s stay until the next start", self._prefix)

    async def _finish(self, ending: dict[str, Any]) -> Task | None:
        b, claim = self._bench, self._claim
        task = await b.database.write(lambda c: b.rows.finish(c, b.server, claim, ending, b.clock()))
        if task is None:
            await self._discard()
        else:
            b.tell(TaskEvent(task))
        return task

    async def _failed(self, error: JobError | Cancelled) -> Task | None:
        code, text = (error.code, error.message) if isinstance(error, JobError) else ("INTERNAL", "The job gave up.")
        b, claim = self._bench, self._claim
        again = code.partition(".")[0] == "INTERNAL" and not isinstance(error, TooLong)
        if not again or claim.attempt >= b.config.attempts:
            return await self._finish({"state": "FAILED", "failure": text, "failure_code": code})
        logger.warning("task %s, attempt %d: %s", claim.task.id, claim.attempt, text)
        due_s = b.clock() + b.config.backoff_s * 4.0 ** (claim.attempt - 1)
        task = await b.database.write(lambda c: b.rows.postpone(c, b.server, claim, due_s))
        if task is not None:
            b.tell(TaskEvent(replace(task, progress=self.fraction)))
        return task

    def _heard(self, fraction: float, preview: bytes | None) -> None:
        self.fraction = max(self.fraction, fraction)
        task = replace(self._claim.task, progress=self.fraction)
        self._bench.tell(TaskEvent(task, preview, self._left_s(fraction)))

    def _left_s(self, fraction: float) -> float | None:
        now_s = time.monotonic()
        if self._began is None:
            self._began = (now_s, fraction)
        began_s, first = self._began
        if fraction - first < LEAST_TO_GUESS:
            return None
        return (now_s - began_s) * (1.0 - fraction) / (fraction - first)

    async def _flush(self) -> None:
        """Write progress down, a few times a second, and hear there whether the task is still ours."""
        b = self._bench
        while True:
            await asyncio.sleep(b.config.progress_gap_s)
            fraction = self.fraction
            if fraction > self._written:
                self._written = fraction
                try:
                    ours = await b.database.write(
                        partial(b.rows.progress, server=b.server, claim=self._claim, fraction=fraction)
                    )
                except Exception:
                    logger.exception("progress of task %s not written", self._claim.task.id)
                    continue
                if not ours:
                    self.cancel()


class TooLong(JobError):
    """Over the time limit: another attempt would be as long."""

    def __init__(self, message: str) -> None:
        super().__init__("INTERNAL", message)


def _fresh_folders(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()


def _check(output: Output, folder: Path) -> None:
    """Raises JobError unless it is a file that the job wrote where it should."""
    path = output.path
    inside = path.parent.resolve().is_relative_to(folder.resolve())
    if not inside or path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
        raise JobError("INTERNAL.BAD_OUTPUT", f"The job made no file {path.name[:100]!r}.")
