"""Tasks as the contract shows them: looked at, cancelled, deleted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..outputs import link
from ..services import Caller
from ..task_body import task_body
from ..tasks import Task
from .asking import caller, services_of
from .bodies import is_uuid
from .errors import not_found
from .generation_routes import Cost

_TASK = "A task with this id"


class TaskBody(BaseModel):
    """Which members there are depends on `status`."""

    model_config = ConfigDict(extra="allow")
    id: str
    createdAt: str = Field(json_schema_extra={"format": "date-time"})
    status: str = Field(pattern="^(PENDING|THROTTLED|RUNNING|SUCCEEDED|FAILED|CANCELLED)$")
    progress: float = Field(default=0, ge=0, le=1)
    output: list[str] = []
    failure: str = ""
    failureCode: str = ""
    cost: Cost | None = None
    estimatedCost: Cost | None = None


def shown(request: Request, task: Task) -> dict[str, Any]:
    """The body of a task, with fresh addresses of its outputs. `metadata` says which local model ran, which name it was
    asked by, and what no model followed."""
    services = services_of(request)
    base_url = services.base_url(request.headers.get("host"), request.url.scheme)
    found = task_body(task, lambda key: link(services, base_url, key))
    facts = dict(task.facts)
    metadata: dict[str, Any] = {"requested": task.model} if task.model else {}
    metadata |= {"model": facts.pop("ran")} if "ran" in facts else {}
    metadata |= {"ignored": task.params["ignored"]} if task.params.get("ignored") else {}
    return found | {"metadata": metadata | facts}


def add(app: FastAPI) -> None:
    @app.get("/tasks/{id}", response_model=TaskBody, response_model_exclude_unset=True, operation_id="task")
    async def task(id: str, request: Request, who: Annotated[Caller, Depends(caller)]) -> dict[str, Any]:
        try:
            return shown(request, await services_of(request).tasks.get(who.key, _known(id)))
        except KeyError:
            raise not_found(_TASK) from None

    @app.delete("/tasks/{id}", status_code=204, operation_id="delete_task")
    async def remove(id: str, request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
        services = services_of(request)
        try:
            await services.tasks.remove(who.key, _known(id))
        except KeyError:
            raise not_found(_TASK) from None
        await services.authority.note(who, "task.delete", "task", id)
        return Response(status_code=204)


def _known(id: str) -> str:
    """Raises KeyError on what cannot be an id of a task."""
    if not is_uuid(id):
        raise KeyError(id)
    return id
