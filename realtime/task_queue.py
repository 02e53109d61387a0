"""The queue of offline tasks: satisfies tasks.TaskBoard, and runs what it is given.

The queue itself is in the database; here is what moves it: runners that claim tasks for their processes, and a keeper
that renews leases, takes over the tasks of servers that died, and forgets what is too old.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .config import TaskConfig
from .jobs.kinds import KINDS, Kind
from .jobs.pool import JobProcess, ProcessConfig
from .jobs.process import Calm
from .server_slot import ServerSlot
from .services import Blobs
from .task_attempt import Attempt, Bench
from .task_watch import Watchers
from .tasks import FINAL, NewTask, Task, TaskEvent

if TYPE_CHECKING:
    from .store.database import Database
    from .store.tasks import Removed, TaskRows

logger = logging.getLogger(__name__)

LANES = ("heavy", "light")
DAY_S = 86_400.0
ORPHAN_S = 3600.0  # an input without a task may be on its way to one, where other servers are at work
TROUBLE_S = 1.0  # before trying again where the database fails
_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")


class TaskQueue:
    """One per server. `kinds` is the table of jobs; tests bring their own, and `process.finder` to match."""

    def __init__(
        self,
        database: Database,
        rows: TaskRows,
        blobs: Blobs,
        slot: ServerSlot,
        config: TaskConfig,
        process: ProcessConfig,
        clock: Callable[[], float],
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        self._database, self._rows, self._blobs, self._slot = database, rows, blobs, slot
        self._config, self._clock, self._kinds = config, clock, kinds
        self._processes = {lane: [JobProcess(process) for _ in range(getattr(config, lane))] for lane in LANES}
        self._wakes = {lane: [asyncio.Event() for _ in processes] for lane, processes in self._processes.items()}
        self._running: dict[str, Attempt] = {}
        self._watchers = Watchers()
        self._work: list[asyncio.Task[None]] = []
        self._warming: set[asyncio.Task[None]] = set()
        self._stopping = False

    # -- tasks.TaskBoard

    async def create(self, new: NewTask) -> Task:
        """Raises ValueError where it names no kind of job."""
        if new.kind not in self._kinds:
            raise ValueError(f"there is no kind of job {new.kind!r}; there are {', '.join(self._kinds)}")
        bad = [name for name in new.inputs if not _NAME.fullmatch(name)]
        if bad:
            raise ValueError(f"{bad[0][:100]!r} is not the name of an input")
        lane, window_s = self._kinds[new.kind].lane, self._config.retry_window_s
        task = await self._database.write(lambda c: self._rows.create(c, new, lane, self._clock(), window_s))
        if task.state == "PENDING":
            self._wake(lane)
        if new.again and new.inputs:
            await self._forget_twice(new)
        return task

    async def _forget_twice(self, new: NewTask) -> None:
        """Inputs that a second try of a request brought along, where the first try's task was given."""
        keys = [key for key in new.inputs.values() if key.startswith("inputs/")]
        for key in await self._database.read(lambda c: self._rows.unused(c, keys)):
            await self._blobs.remove(key)

    async def repeated(self, owner: str, retry_of: str) -> Task | None:
        """The task that the same request made before, within the window of retries."""
        since_s = self._clock() - self._config.retry_window_s
        return await self._database.read(lambda c: self._rows.repeated(c, owner, retry_of, since_s))

    async def get(self, owner: str, id: str) -> Task:
        """Raises KeyError."""
        return self._current(await self._database.read(lambda c: self._rows.get(c, owner, id)))

    async def remove(self, owner: str, id: str) -> None:
        """Cancel a task that goes on, delete one that ended, outputs included. Raises KeyError."""
        removed = await self._database.write(lambda c: self._rows.remove(c, owner, id, self._clock()))
        attempt = self._running.get(id)
        if attempt is not None:
            attempt.cancel()
        self._watchers.tell(TaskEvent(removed.task))
        self._wake()
        await self._clear(removed)

    def warm(self) -> None:
        """Somebody will soon want a film: have what draws it ready. Returns at once; again is harmless."""
        idle = [process for process in self._processes["heavy"] if process.pid is None]
        if not self._warming and not self._stopping:
            for process in idle:
                warming = asyncio.create_task(process.warm())
                self._warming.add(warming)
                warming.add_done_callback(self._warming.discard)

    async def listed(
        self, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        """The newest first: those before (created_s, id)."""
        found = await self._database.read(lambda c: self._rows.listed(c, owner, limit, before, search))
        return [self._current(task) for task in found]

    async def watch(self, owner: str, id: str) -> AsyncIterator[TaskEvent]:
        """As it is now, then every change until the end; a server that stops ends it too. Raises KeyError."""
        with self._watchers.watching(id) as watcher:
            task = await self.get(owner, id)
            yield TaskEvent(task)
            while task.state not in FINAL and not self._stopping:
                event = await watcher.next(self._config.poll_s)
                if event is None:  # perhaps another server has it
                    event = await self._looked_up(owner, task)
                if event is not None:
                    task = event.task
                    yield event

    async def _looked_up(self, owner: str, seen: Task) -> TaskEvent | None:
        """What the database knows better."""
        try:
            task = await self.get(owner, seen.id)
        except KeyError:
            return TaskEvent(replace(seen, state="CANCELLED"))
        changed = task.state != seen.state or task.progress > seen.progress
        return TaskEvent(task) if changed else None

    def _current(self, task: Task) -> Task:
        """With progress that is not written down yet."""
        attempt = self._running.get(task.id)
        if attempt is None or task.state != "RUNNING":
            return task
        return replace(task, progress=max(task.progress, attempt.fraction))

    # -- life

    async def open(self) -> None:
        """Take over what an earlier run of this server left, then start to work. The database is migrated."""
        await asyncio.to_thread(self._slot.take)
        await self._reclaim(self._slot.name)
        await self._reclaim()
        await self.sweep()
        bench = Bench(
            self._database, self._rows, self._blobs, self._config, self._slot.name, self._slot.scratch, self._clock,
            self._watchers.tell,
        )  # fmt: skip
        for lane, processes in self._processes.items():
            for process, wake in zip(processes, self._wakes[lane], strict=True):
                self._work.append(asyncio.create_task(self._persist(partial(self._run, bench, lane, process, wake))))
        self._work += [asyncio.create_task(self._persist(work)) for work in (self._keep, self._forget)]

    async def close(self) -> None:
        """Stop working; what goes on is taken up at the next start. Twice is harmless."""
        if self._stopping:
            return
        self._stopping = True
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await asyncio.gather(*(process.close() for process in self._all()))
        if self._work:
            with suppress(Exception):
                await self._database.write(lambda c: self._rows.hand_back(c, self._slot.name, self._clock()))
            await asyncio.to_thread(self._slot.release)

    def be(self, calm: Calm) -> None:
        """How much heavy jobs may take while somebody plays live."""
        for process in self._processes["heavy"]:
            process.be(calm)

    def _all(self) -> list[JobProcess]:
        return [process for processes in self._processes.values() for process in processes]

    def _wake(self, *lanes: str) -> None:
        for lane in lanes or LANES:
            for wake in self._wakes[lane]:
                wake.set()

    async def _persist(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever happens, until the server stops."""
        while True:
            try:
                await work()
            except Exception:
                logger.exception("the queue of tasks is in trouble; it goes on in %g s", TROUBLE_S)
                await asyncio.sleep(TROUBLE_S)

    async def _run(self, bench: Bench, lane: str, process: JobProcess, wake: asyncio.Event) -> None:
        """One look, and one task where there is one."""
        due_s = await self._database.read(lambda c: self._rows.soonest(c, lane))
        wait_s = self._config.poll_s if due_s is None else due_s - self._clock()
        if wait_s > 0.0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, self._config.poll_s)):
                    await wake.wait()
            wake.clear()
            return
        claiming = self._database.write(
            lambda c: self._rows.claim(c, bench.server, lane, self._clock(), self._config.lease_s)
        )
        claim = await _whole(claiming)
        if claim is None:  # another server was first
            await asyncio.sleep(0.01)
            return
        attempt = self._running[claim.task.id] = Attempt(bench, claim, process)
        try:
            await attempt.run()
        finally:
            del self._running[claim.task.id]
            self._wake()

    # -- the keeper

    async def _keep(self) -> None:
        await asyncio.sleep(self._config.heartbeat_s)
        now_s, lease_s = self._clock(), self._config.lease_s
        before = set(self._running)
        ours = await self._database.write(lambda c: self._rows.renew(c, self._slot.name, now_s, lease_s))
        for id in before - ours:
            if id in self._running:
                self._running[id].cancel()  # removed by another server, or given to one
        await self._reclaim()

    async def _reclaim(self, server: str = "") -> None:
        attempts = self._config.attempts
        for task in await self._database.write(lambda c: self._rows.reclaim(c, self._clock(), attempts, server)):
            logger.warning("task %s was left by a server that died; now %s", task.id, task.state)
            self._watchers.tell(TaskEvent(task))
            self._wake()

    async def _forget(self) -> None:
        await self.expire()
        await asyncio.sleep(self._config.sweep_s)

    async def expire(self) -> None:
        """Remove the files of tasks that are older than the operator keeps them."""
        days = self._config.keep_outputs_days
        while days is not None:
            before_s = self._clock() - days * DAY_S
            gone = await self._database.write(lambda c, t=before_s: self._rows.expire(c, t))  # type: ignore[misc]
            for removed in gone:
                await self._clear(removed)
            if not gone:
                return

    async def sweep(self) -> None:
        """Remove blobs that no task names: of attempts that a crash ended, and inputs of tasks that never were."""
        await self._sweep_outputs()
        used = None
        before_s = self._clock() - (0.0 if self._slot.alone and self._database.lite else ORPHAN_S)
        async for key, put_s in self._blobs.keys("inputs/"):
            if used is None:
                used = await self._database.read(self._rows.inputs_in_use)
            if key not in used and put_s <= before_s:
                await self._blobs.remove(key)

    async def _sweep_outputs(self) -> None:
        keys = [key async for key, _ in self._blobs.keys("outputs/")]
        ids = {key.split("/")[1] for key in keys}
        known = await self._database.read(lambda c: self._rows.keepers(c, ids))
        for key in keys:
            state, outputs, attempts = known.get(key.split("/")[1], ("", frozenset[str](), 0))
            forming = state == "RUNNING" and key.startswith(f"outputs/{key.split('/')[1]}/{attempts}/")
            if key not in outputs and not forming:
                logger.info("removing %s, which belongs to no task", key)
                await self._blobs.remove(key)

    async def _clear(self, removed: Removed) -> None:
        for prefix in (f"outputs/{removed.task.id}/", *removed.inputs):
            try:
                await self._blobs.remove(prefix)
            except Exception:
                logger.exception("%s stays until the next start", prefix)


async def _whole(work: Awaitable[Any]) -> Any:
    """Wait for a transaction to its end, also where we are told to stop: a claim must not be lost half-way."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
