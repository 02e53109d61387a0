"""An authority that is asked once a second rather than at every request: a client that looks at its tasks in a loop
would otherwise have the database look its key up each time."""

from __future__ import annotations

from collections.abc import Callable

from .services import Authority, Caller

REMEMBERED_S = 1.0  # how long a key that is revoked may still open
MAX_REMEMBERED = 1000


class Remembered:
    """Satisfies services.Authority around another one. Refusals are not remembered. Lives on the event loop."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        self._authority, self._clock = authority, clock
        self._known: dict[tuple[str | None, str], tuple[float, Caller]] = {}

    async def admit(self, secret: str | None, scope: str) -> Caller:
        """Raises what the other one raises."""
        asked, now_s = (secret, scope), self._clock()
        known = self._known.get(asked)
        if known is not None and 0.0 <= now_s - known[0] < REMEMBERED_S:
            return known[1]
        caller = await self._authority.admit(secret, scope)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[asked] = (now_s, caller)
        return caller

    async def charge(self, caller: Caller, model: str, credits: int) -> None:
        await self._authority.charge(caller, model, credits)

    async def note(self, caller: Caller, action: str, resource: str, resource_id: str) -> None:
        await self._authority.note(caller, action, resource, resource_id)
