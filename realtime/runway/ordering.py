"""From a checked request to a task on the board: the one way, for every route that creates tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from ..services import Caller, retry_mark
from ..tasks import NewTask, Task
from .asking import services_of


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
    mark = ""
    if request.headers.get("x-stainless-retry-count", "0") != "0":
        mark = retry_mark(who.key, request.url.path, await request.body())
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
        retry_of=mark,
        parent=parent,
    )
    return await services.tasks.create(new)
