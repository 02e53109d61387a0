"""Where the organization's figures come from: the credits ledger and the audit log of this server, or, where nobody
keeps books, the caller's own tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..governance import limits as rules
from ..governance.limits import Limits
from ..services import Services
from ..store import governance as store
from ..store.governance import AuditRow, Entry

PAGE = 200  # tasks that are looked at in one go


class Ledger(Protocol):
    """What is known of use. `owner` is the key that asks."""

    @property
    def limits(self) -> Limits: ...

    async def balance(self) -> int | None:
        """Credits that are left; None where they are not counted."""
        ...

    async def entries(self, owner: str, since_s: float, until_s: float) -> list[Entry]:
        """Charges and refunds of [since_s, until_s), the oldest first."""
        ...

    async def notes(
        self,
        limit: int,
        before: tuple[float, str] | None,
        since_s: float | None,
        until_s: float | None,
        actions: tuple[str, ...],
    ) -> list[AuditRow]:
        """The audit log, the newest first."""
        ...

    async def note_of(self, id: str) -> AuditRow:
        """Raises KeyError."""
        ...


@dataclass(frozen=True, slots=True)
class TaskLedger:
    """No books: what the caller's tasks that still exist would have cost. There is no audit log."""

    services: Services
    limits: Limits = Limits()

    async def balance(self) -> int | None:
        return None

    async def entries(self, owner: str, since_s: float, until_s: float) -> list[Entry]:
        found: list[Entry] = []
        before: tuple[float, str] | None = None
        while tasks := await self.services.tasks.listed(owner, PAGE, before):
            for task in tasks:
                if since_s <= task.created_s < until_s:
                    charge = Entry(owner, task.id, task.model, task.endpoint, task.credits, "charge", task.created_s)
                    found.append(charge)
                    if rules.refunded(task):
                        ended_s = task.created_s if task.ended_s is None else task.ended_s
                        found.append(Entry(owner, task.id, task.model, task.endpoint, -task.credits, "refund", ended_s))
            before = (tasks[-1].created_s, tasks[-1].id)
            if before[0] < since_s or len(tasks) < PAGE:
                break
        return sorted(found, key=lambda entry: (entry.at_s, entry.task))

    async def notes(
        self,
        limit: int,
        before: tuple[float, str] | None,
        since_s: float | None,
        until_s: float | None,
        actions: tuple[str, ...],
    ) -> list[AuditRow]:
        return []

    async def note_of(self, id: str) -> AuditRow:
        raise KeyError(id)


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger and the audit log in the database, of all keys together."""

    services: Services
    limits: Limits = Limits()

    async def balance(self) -> int | None:
        return await self.services.database.read(rules.balance) if self.limits.credits else None

    async def entries(self, owner: str, since_s: float, until_s: float) -> list[Entry]:
        return await self.services.database.read(lambda c: store.entries(c, since_s, until_s))

    async def notes(
        self,
        limit: int,
        before: tuple[float, str] | None,
        since_s: float | None,
        until_s: float | None,
        actions: tuple[str, ...],
    ) -> list[AuditRow]:
        return await self.services.database.read(lambda c: store.notes(c, limit, before, since_s, until_s, actions))

    async def note_of(self, id: str) -> AuditRow:
        """Raises KeyError."""
        found = await self.services.database.read(lambda c: store.note_of(c, id))
        if found is None:
            raise KeyError(id)
        return found
