"""What a route of kept things needs: who asks, the database, and the board that tasks are put on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import Depends, Request

from ..services import Asset, Caller, Services, retry_mark
from ..tasks import Task
from .asking import caller, gathered, services_of
from .bodies import is_uuid
from .errors import not_found
from .ordering import first_try, submit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """One request's view of what is kept."""

    services: Services
    who: Caller
    request: Request
    base_url: str  # how this client reaches the server

    @property
    def owner(self) -> str:
        return self.who.key

    def now(self) -> float:
        """Unix seconds, as the database and JSON keep them."""
        return round(self.services.clock(), 3)

    async def read(self, work: Callable[[Any], T], missing: str = "This") -> T:
        """Look into the database; a KeyError is a 404 about `missing`, a noun with its article."""
        try:
            return await self.services.database.read(work)
        except KeyError:
            raise not_found(missing) from None

    async def write(self, work: Callable[[Any], T], missing: str = "This") -> T:
        """Change the database, in one transaction; errors as in `read`."""
        try:
            return await self.services.database.write(work)
        except KeyError:
            raise not_found(missing) from None

    async def gather(self, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        """Receive a medium that the body names; it goes again where this request is refused. Errors as in
        `Assets.gather`."""
        asset = await self.services.assets.gather(self.owner, uri, wanted, field)
        gathered(self.request).append(asset.blob)
        return asset

    async def order(
        self,
        kind: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, str],
        model: str,
        credits: int = 0,
        parent: str = "",
    ) -> Task:
        """Put a task on the board, paid for. Errors as in `ordering.submit`."""
        task = await submit(self.request, self.who, kind, params, inputs, model=model, credits=credits, parent=parent)
        gathered(self.request).clear()  # they are the task's from now on
        return task

    async def first_try(self) -> Task | None:
        """As `ordering.first_try`: asked before anything is fetched."""
        return await first_try(self.request, self.who)

    async def retry(self) -> tuple[str, bool]:
        """(the mark of this request, whether the client says that it sends it again)."""
        mark = retry_mark(self.owner, self.request.url.path, await self.request.body())
        return mark, self.request.headers.get("x-stainless-retry-count", "0") != "0"

    async def drop(self, task: str) -> None:
        """Cancel or delete a task, if there is one with this id."""
        with contextlib.suppress(KeyError):
            await self.services.tasks.remove(self.owner, task)

    async def note(self, action: str, resource: str, id: str) -> None:
        await self.services.authority.note(self.who, action, resource, id)


async def desk(request: Request, who: Annotated[Caller, Depends(caller)]) -> Desk:
    """A dependency."""
    services = services_of(request)
    return Desk(services, who, request, services.base_url(request.headers.get("host"), request.url.scheme))


At = Annotated[Desk, Depends(desk)]


def checked(id: str, what: str) -> str:
    """The id in a path. Raises a 404 about `what` where it is none that could have been given."""
    if not is_uuid(id):
        raise not_found(what)
    return id


def new_id() -> str:
    """A UUID 4."""
    return str(uuid4())
