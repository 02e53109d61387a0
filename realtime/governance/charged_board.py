"""A task board that books what tasks cost, and writes down who made them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from ..store import governance as store
from ..store.database import Database
from ..store.governance import AuditRow, Entry
from ..tasks import NewTask, Task, TaskBoard, TaskEvent
from . import limits
from .limits import Limits


class ChargedBoard:
    """Satisfies `tasks.TaskBoard` around another one. Charge and task bear the same id, so that a crash between the
    two leaves something that `limits.settle` can find."""

    def __init__(self, board: TaskBoard, database: Database, known: Limits, clock: Callable[[], float]) -> None:
        self._board, self._database, self._limits, self._clock = board, database, known, clock

    async def create(self, new: NewTask) -> Task:
        """Raises ApiError where a limit is passed."""
        id, now = new.id or str(uuid.uuid4()), self._clock()
        entry = Entry(new.owner, id, new.model, new.endpoint, new.credits, "charge", now)
        await self._database.write(lambda c: limits.charge(c, self._limits, entry))
        try:
            task = await self._board.create(replace(new, id=id))
        except BaseException:
            await self._database.write(lambda c: limits.refund(c, id, now))
            raise
        if task.id != id:  # a second try of the same request
            await self._database.write(lambda c: limits.refund(c, id, now))
        else:
            row = AuditRow(str(uuid.uuid4()), now, new.owner, "", "task.create", "task", id)
            await self._database.write(lambda c: store.note(c, row))
        return task

    async def ended(self, task: Task) -> None:
        """To be told of every task that reached its end; more than once is harmless."""
        if limits.refunded(task):
            await self._database.write(lambda c: limits.refund(c, task.id, self._clock()))

    async def get(self, owner: str, id: str) -> Task:
        return await self._board.get(owner, id)

    async def remove(self, owner: str, id: str) -> None:
        await self._board.remove(owner, id)

    async def listed(
        self, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        return await self._board.listed(owner, limit, before, search)

    def watch(self, owner: str, id: str) -> AsyncIterator[TaskEvent]:
        return self._board.watch(owner, id)
