"""Offline tasks and their life: PENDING or THROTTLED, RUNNING, then SUCCEEDED, FAILED or CANCELLED."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a route asks for."""

    kind: str  # of jobs/kinds.py
    params: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)  # name -> key of a blob; inputs/… go with their last task
    owner: str = ""  # id of the API key
    endpoint: str = ""  # e.g. /v1/text_to_video
    model: str = ""  # as the client named it, e.g. gen4.5
    credits: int = 0
    webhook: str = ""  # URL that hears of the end; empty: none
    retry_of: str = ""  # services.retry_mark of the request, stored with every task so that a second try finds it
    again: bool = (
        False  # the client says that it sends this again (x-stainless-retry-count > 0): the first task is given
    )
    parent: str = ""  # workflow invocation that it belongs to


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is now."""

    id: str  # UUID 4
    kind: str
    params: Mapping[str, Any]
    owner: str
    endpoint: str
    model: str
    state: str  # PENDING, THROTTLED or RUNNING, then one of FINAL
    created_s: float  # Unix time
    progress: float = 0.0
    outputs: tuple[str, ...] = ()  # keys of blobs; none of a task that SUCCEEDED where facts say `expired`
    failure: str = ""
    failure_code: str = ""
    credits: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the JobResult, and `ran`: the local model
    parent: str = ""
    started_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task, for those who watch."""

    task: Task
    preview_jpeg: bytes | None = None  # a frame as it forms
    left_s: float | None = None  # estimate of the time that remains


class TaskBoard(Protocol):
    """What the routes need. Everything is the owner's alone: another's task is not found (KeyError)."""

    async def create(self, new: NewTask) -> Task:
        """Raises ValueError where there is no such kind of job, or an input's name is not one."""
        ...

    async def repeated(self, owner: str, retry_of: str) -> Task | None:
        """The task that the same request made before, within the window of retries: for routes that charge, or fetch
        inputs, before they create."""
        ...

    async def get(self, owner: str, id: str) -> Task:
        """Raises KeyError."""
        ...

    async def remove(self, owner: str, id: str) -> None:
        """Cancel a task that goes on, delete one that ended, outputs included. Raises KeyError."""
        ...

    async def listed(
        self, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        """The newest first: those before (created_s, id)."""
        ...

    def watch(self, owner: str, id: str) -> AsyncIterator[TaskEvent]:
        """As it is now, then every change until the end. Raises KeyError."""
        ...
