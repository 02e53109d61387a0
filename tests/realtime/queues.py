"""A queue of tasks with quick jobs, as the tests of the offline half use it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.realtime import quick_jobs
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.config import TaskConfig
from worldstream.realtime.jobs.pool import ProcessConfig
from worldstream.realtime.server_slot import ServerSlot
from worldstream.realtime.services import Blobs
from worldstream.realtime.store import tasks as task_rows
from worldstream.realtime.store import webhooks as webhook_rows
from worldstream.realtime.store.database import Database
from worldstream.realtime.task_queue import TaskQueue
from worldstream.realtime.tasks import FINAL, NewTask, Task

ROOT = Path(__file__).resolve().parents[2]
QUICK = TaskConfig(poll_s=0.2, heartbeat_s=0.2, backoff_s=0.01, progress_gap_s=0.05)
MIGRATIONS = [*task_rows.MIGRATIONS, *webhook_rows.MIGRATIONS]


@dataclass
class Quick:
    """All parts of one queue."""

    queue: TaskQueue
    database: Database
    rows: task_rows.TaskRows
    blobs: Blobs
    data: Path

    async def ended(self, task: Task, timeout_s: float = 20.0) -> Task:
        """The task when it has ended."""
        async with asyncio.timeout(timeout_s):
            while task.state not in FINAL:
                await asyncio.sleep(0.01)
                task = await self.queue.get(task.owner, task.id)
        return task

    async def said(self, task: Task) -> bytes:
        """The first output's content."""
        key = task.outputs[0]
        return b"".join([piece async for piece in self.blobs.read(key, 0, await self.blobs.size(key))])


def new(kind: str = "write", owner: str = "me", **params: object) -> NewTask:
    return NewTask(kind, params, owner=owner, model=f"model-{kind}")


@asynccontextmanager
async def quick_queue(
    data: Path,
    config: TaskConfig = QUICK,
    url: str = "",
    blobs: Blobs | None = None,
    clock: Callable[[], float] = time.time,
    opened: bool = True,
) -> AsyncIterator[Quick]:
    """A queue on `data`, working unless `opened` is False."""
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT / ".links"), str(ROOT)]))
    database = Database(url or data / "tasks.db")
    database.migrate(MIGRATIONS)
    rows = task_rows.TaskRows(database.lite, config.per_model, config.models)
    kept = blobs or FolderBlobs(data / "blobs")
    process = ProcessConfig(data, quick_jobs.FINDER, log_level="CRITICAL", threads=1)
    queue = TaskQueue(database, rows, kept, ServerSlot(data), config, process, clock, quick_jobs.KINDS)
    if opened:
        await queue.open()
    try:
        yield Quick(queue, database, rows, kept, data)
    finally:
        await queue.close()
        await asyncio.to_thread(database.close)


def patient(config: TaskConfig = QUICK, **changes: object) -> TaskConfig:
    return replace(config, **changes)  # type: ignore[arg-type]
