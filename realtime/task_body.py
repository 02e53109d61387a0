"""A task as clients see it: the body of GET /v1/tasks/{id}, and of the webhook that tells of its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .governance.limits import refunded
from .runway.pages import stamp
from .tasks import Task


def task_body(task: Task, url_of: Callable[[str], str]) -> dict[str, Any]:
    """In the contract's shape; `url_of` makes an address of an output's key. `metadata` is ours."""
    found: dict[str, Any] = {"id": task.id, "createdAt": stamp(task.created_s), "status": task.state}
    cost = {"credits": 0 if refunded(task) else task.credits}
    match task.state:
        case "PENDING" | "THROTTLED":
            found["estimatedCost"] = cost
        case "RUNNING":
            found |= {"progress": task.progress, "estimatedCost": cost}
        case "SUCCEEDED":
            found |= {"output": [url_of(key) for key in task.outputs], "cost": cost}
        case "FAILED":
            found |= {"failure": task.failure, "cost": cost}
            if task.failure_code:
                found["failureCode"] = task.failure_code
        case _:
            found["cost"] = cost
    if task.facts:
        found["metadata"] = dict(task.facts)
    return found
