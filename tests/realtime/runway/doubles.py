"""Stand-ins behind the HTTP contract: a task board in memory whose tasks end at once, and a door with two keys."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.realtime.doubles import OpenDoor
from worldstream.realtime.blobs import FolderBlobs as FolderBlobs
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.services import Blobs, Caller
from worldstream.realtime.tasks import FINAL, NewTask, Task, TaskEvent

SUFFIXES = {"still": "png", "upscale_image": "png", "speech": "mp3", "sound": "mp3", "isolate": "mp3", "dub": "mp3"}


class MemoryBoard:
    """A TaskBoard. Words in a prompt say how a task goes: "stays" leaves it RUNNING, "waits" PENDING, "queues"
    THROTTLED, "fails" FAILED; any other SUCCEEDED at once, with one small output."""

    def __init__(self, blobs: Blobs, scratch: Path) -> None:
        self.blobs, self.scratch = blobs, scratch
        self.created: list[NewTask] = []  # in order: what the routes asked for
        self.tasks: dict[str, Task] = {}

    async def create(self, new: NewTask) -> Task:
        self.created.append(new)
        prompt = str(new.params.get("prompt", new.params.get("text", "")))
        words = {"stays": "RUNNING", "waits": "PENDING", "queues": "THROTTLED", "fails": "FAILED"}
        state = next((state for word, state in words.items() if word in prompt), "SUCCEEDED")
        task = Task(
            id=str(uuid.uuid4()),
            kind=new.kind,
            params=new.params,
            owner=new.owner,
            endpoint=new.endpoint,
            model=new.model,
            state=state,
            created_s=time.time(),
            progress={"RUNNING": 0.25, "SUCCEEDED": 1.0}.get(state, 0.0),
            credits=new.credits,
            parent=new.parent,
            failure="It could not be done." if state == "FAILED" else "",
            failure_code="INTERNAL.BAD_OUTPUT.CODE01" if state == "FAILED" else "",
            facts={"ran": "nano", "seconds": 1.0} if state in FINAL else {},
        )
        if state == "SUCCEEDED":
            key = f"outputs/{task.id}/0.{SUFFIXES.get(new.kind, 'mp4')}"
            made = self.scratch / task.id
            made.write_bytes(b"made by a stand-in")
            await self.blobs.put(key, made, "application/octet-stream")
            task = dataclasses.replace(task, outputs=(key,))
        self.tasks[task.id] = task
        return task

    async def repeated(self, owner: str, retry_of: str) -> Task | None:
        return None

    async def get(self, owner: str, id: str) -> Task:
        task = self.tasks[id]
        if task.owner != owner:
            raise KeyError(id)
        return task

    async def remove(self, owner: str, id: str) -> None:
        await self.get(owner, id)
        del self.tasks[id]

    async def listed(
        self, owner: str, limit: int, before: tuple[float, str] | None = None, search: str = ""
    ) -> list[Task]:
        mine = [t for t in self.tasks.values() if t.owner == owner and search in str(t.params.get("prompt", ""))]
        ordered = sorted(mine, key=lambda t: (t.created_s, t.id), reverse=True)
        return [t for t in ordered if before is None or (t.created_s, t.id) < before][:limit]

    async def watch(self, owner: str, id: str) -> AsyncIterator[TaskEvent]:
        yield TaskEvent(await self.get(owner, id))


@dataclass
class StrictDoor(OpenDoor):
    """Knows two keys, and remembers what was asked of it."""

    keys: dict[str, str] = field(default_factory=lambda: {"key_one": str(uuid.UUID(int=1)), "key_two": "two"})
    asked: list[tuple[str | None, str]] = field(default_factory=list)
    charged: list[tuple[str, str, int]] = field(default_factory=list)
    broke: bool = False

    async def admit(self, secret: str | None, scope: str) -> Caller:
        self.asked.append((secret, scope))
        if secret not in self.keys:
            raise ApiError(401, "This key is not known.")
        return Caller(self.keys[secret], secret or "")

    async def charge(self, caller: Caller, model: str, credits: int) -> None:
        self.charged.append((caller.key, model, credits))
        if self.broke:
            raise ApiError(400, "You do not have enough credits to run this task.")


def body_of(error: Any) -> Any:
    """The parsed body of an SDK's error."""
    return error.body
