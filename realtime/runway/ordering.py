"""From a checked request to a task on the board: the one way, for every route that creates tasks."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from ..jobs.kinds import KINDS, refusal
from ..jobs.workshop import OneWorkshop
from ..services import Asset, Caller, Services, retry_mark
from ..tasks import NewTask, Task
from .asking import services_of
from .bodies import Body
from .errors import ApiError, invalid
from .models import Alias, Catalogue

log = logging.getLogger(__name__)

_ABSENT = {
    "performance": "No model on this machine lets a picture act as a recorded person does; none can be set yet.",
    "avatar_video": "No model on this machine draws speaking characters yet.",
    "robot_video": "No model of a robot is installed on this machine.",
}
_WITHOUT_MEANING = ("model", "contentModeration")  # said, but nothing that a model could follow


@dataclass
class Order:
    """A request on its way to becoming a task. Mapping functions `take` what they understand from what was `sent`; what
    is left in the end was accepted as the contract demands but followed by no local model, and is told as `ignored`."""

    services: Services
    who: Caller
    endpoint: str
    model: str  # as the client named it
    catalogue: Catalogue
    sent: dict[str, Any]
    kind: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    assets: dict[str, Asset] = field(default_factory=dict)
    credits: int = 0

    @property
    def alias(self) -> Alias:
        """What the client's name of the model means here, for this kind of job."""
        return self.catalogue.of(self.model, self.kind)

    def take(self, member: str, default: Any = None) -> Any:
        """The value of a member, followed from here on."""
        return self.sent.pop(member, default)

    def put(self, **params: Any) -> None:
        """Parameters of the job; those that are None are left out."""
        self.params |= {name: value for name, value in params.items() if value is not None}

    async def gather(self, name: str, uri: str, wanted: str, *path: str | int) -> Asset:
        """Receive a media string as the job's input `name`; `path` is where it stood in the body."""
        asset = await self.services.assets.gather(self.who.key, uri, wanted, path)
        self.assets[name], self.inputs[name] = asset, asset.blob
        return asset

    def seed(self) -> None:
        """The seed that was given, or one that is drawn now and told in the task's metadata."""
        given = self.take("seed")
        self.params["seed"] = secrets.randbits(32) if given is None else given

    def refuse_if_absent(self) -> None:
        """Raises a 400 about the model where no model here can do such a job; its text names what would change that."""
        reason = _ABSENT.get(self.kind) or (
            refusal(self.kind, OneWorkshop(self.services.data)) if self.kind in KINDS else "No model here can do it."
        )
        if reason:
            raise invalid(["model"], reason)

    async def forget(self) -> None:
        """Remove what was gathered, for a request that became no task."""
        for key in self.inputs.values():
            try:
                await self.services.blobs.remove(key)
            except Exception:
                log.exception("%s stays", key)


Mapper = Callable[[Order], Awaitable[None]]


async def create(request: Request, who: Caller, body: Body, mapper: Mapper) -> dict[str, Any]:
    """The body of a create reply: `{id, estimatedCost, metadata}`. Raises ApiError."""
    services = services_of(request)
    catalogue: Catalogue = request.app.state.catalogue
    first = await first_try(request, who)
    if first is not None:
        return created(first)
    sent = body.sent()
    model = getattr(request.state, "asked_model", sent["model"])
    sent = {name: value for name, value in sent.items() if name not in _WITHOUT_MEANING}
    order = Order(services, who, request.url.path, model, catalogue, sent)
    try:
        await mapper(order)
        if order.alias.model:
            order.params["model"] = order.alias.model
        if order.sent:
            order.params["ignored"] = sorted(order.sent)
        task = await submit(request, who, order.kind, order.params, order.inputs, model=model, credits=order.credits)
    except BaseException:  # cancellation too
        await asyncio.shield(order.forget())
        raise
    return created(task)


def created(task: Task) -> dict[str, Any]:
    """The reply of every route that creates a task."""
    metadata: dict[str, Any] = {"requested": task.model}
    if task.params.get("model"):
        metadata["model"] = task.params["model"]
    if task.params.get("ignored"):
        metadata["ignored"] = task.params["ignored"]
    return {"id": task.id, "estimatedCost": {"credits": task.credits}, "metadata": metadata}


async def first_try(request: Request, who: Caller) -> Task | None:
    """The task of a client's first try, where this is a blind second one: nothing is fetched or charged again."""
    if request.headers.get("x-stainless-retry-count", "0") == "0":
        return None
    mark = retry_mark(who.key, request.url.path, await request.body())
    return await services_of(request).tasks.repeated(who.key, mark)


async def submit(
    request: Request,
    who: Caller,
    kind: str,
    params: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    model: str,
    credits: int,
    parent: str = "",
) -> Task:
    """Charge for a task and put it on the board. `inputs` are keys of blobs, `model` is as the client named it.

    A client's blind second try of a request (the official SDKs say so in a header) gives the task of the first. Raises
    ApiError: 400 where credits are short, 429 over a quota."""
    services = services_of(request)
    await services.authority.charge(who, model, credits)
    new = NewTask(
        kind,
        params,
        inputs,
        owner=who.key,
        endpoint=request.url.path,
        model=model,
        credits=credits,
        webhook=request.headers.get("x-worldstream-webhook", ""),
        retry_of=retry_mark(who.key, request.url.path, await request.body()),
        again=request.headers.get("x-stainless-retry-count", "0") != "0",
        parent=parent,
    )
    try:
        return await services.tasks.create(new)
    except ValueError as error:
        raise ApiError(400, f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
