"""Who may come in, and what is written down about it."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable

from ..errors import StartupError
from ..runway.errors import ApiError
from ..services import HOUSEHOLD, Caller
from ..store import governance as store
from ..store.database import Connection, Database
from ..store.governance import AuditRow, KeyRow
from .keys import fingerprint

USED_EVERY_S = 60.0  # how exact "last used" is


class KeysNeeded(StartupError):
    """Others could reach the server, and nothing would tell them apart."""

    code = "keys_needed"
    remedy = "Make a key with `worldstream keys create`, or listen on 127.0.0.1."


def loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name does when it is localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(database: Database, host: str) -> None:
    """At the start. Raises KeysNeeded."""
    if not loopback(host) and database.now(store.key_count) == 0:
        raise KeysNeeded(f"Others can reach {host}, and this server has no API keys.")


class Gate:
    """Satisfies `services.Authority`. While no key has been made, which only a server on loopback may begin with, any
    token opens it, and everybody shares one household. Revoking the last key leaves it shut."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._used: dict[str, float] = {}

    async def admit(self, secret: str | None, scope: str) -> Caller:
        """Raises ApiError: 401 without a key that is valid, 403 where its scopes do not cover `scope`."""
        keyed, row = await self._database.read(lambda c: self._look(c, secret))
        if not keyed:
            if not secret:
                raise ApiError(401, "Send an API key: Authorization: Bearer key_…; any value will do on this server.")
            return Caller(HOUSEHOLD, "anybody on this machine")
        if row is None or row.revoked_s is not None:
            raise ApiError(401, "This API key is not valid; `worldstream keys create` makes one.")
        if scope and scope not in row.scopes.split():
            raise ApiError(403, f"This key's scopes are {row.scopes}; this needs {scope}.")
        await self._mark(row.id)
        return Caller(row.id, row.name)

    def _look(self, connection: Connection, secret: str | None) -> tuple[bool, KeyRow | None]:
        row = store.find_key(connection, fingerprint(secret)) if secret else None
        return row is not None or store.was_keyed(connection), row

    async def _mark(self, id: str) -> None:
        now = self._clock()
        if now - self._used.get(id, float("-inf")) >= USED_EVERY_S:
            self._used[id] = now
            await self._database.write(lambda c: store.used(c, id, now))

    async def charge(self, caller: Caller, model: str, credits: int) -> None:
        """Nothing yet: what a task costs is booked together with the task, see `limits.Ledger`."""

    async def note(self, caller: Caller, action: str, resource: str, resource_id: str) -> None:
        row = AuditRow(str(uuid.uuid4()), self._clock(), caller.key, caller.name, action, resource, resource_id)
        await self._database.write(lambda c: store.note(c, row))
