"""Stand-ins for the tests of what is kept: assets that are believed, and a whole contract around a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI

from tests.realtime.runway.doubles import FolderBlobs, MemoryBoard, StrictDoor
from worldstream.realtime.keeping import Keeper
from worldstream.realtime.runway.app import runway_app
from worldstream.realtime.runway.errors import invalid
from worldstream.realtime.runway.library_subjects import LIBRARY
from worldstream.realtime.services import Asset, Services
from worldstream.realtime.store import library
from worldstream.realtime.store.database import Database
from worldstream.realtime.tasks import NewTask, Task

PICTURE = "https://pictures.example/somebody.png"
SOUND = "https://sounds.example/somebody.mp3"
OWNER = str(UUID(int=1))  # of key_one


@dataclass
class BelievedAssets:
    """Every address is what its name says; "missing" in one is refused."""

    blobs: FolderBlobs
    scratch: Path
    gathered: list[str] = field(default_factory=list)

    async def gather(self, owner: str, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        if "missing" in uri:
            raise invalid(field, "The address answered 404.")
        self.gathered.append(uri)
        suffix = {"image": "png", "audio": "mp3", "video": "mp4"}[wanted]
        made = self.scratch / "asset"
        made.write_bytes(uri.encode())
        key = f"assets/{uuid4()}.{suffix}"
        await self.blobs.put(key, made, f"{wanted}/{suffix}")
        return Asset(key, f"{wanted}/{suffix}", len(uri), 640, 360, 4.0)


class ScriptedBoard(MemoryBoard):
    """Tasks stay PENDING until the test says what becomes of them; `quick` ends them at once."""

    quick = False

    async def create(self, new: NewTask) -> Task:
        known = next(
            (t for t, n in zip(self.tasks.values(), self.created, strict=False) if n.retry_of == new.retry_of), None
        )
        if new.retry_of and known is not None:
            return known
        task = await super().create(new)
        if not self.quick:
            task = replace(task, state="PENDING", progress=0.0)
            self.tasks[task.id] = task
        return task

    def now(self, id: str, state: str, **values: Any) -> None:
        self.tasks[id] = replace(self.tasks[id], state=state, **values)


@dataclass
class House:
    """A contract with everything behind it."""

    app: FastAPI
    services: Services
    board: ScriptedBoard
    blobs: FolderBlobs
    assets: BelievedAssets
    door: StrictDoor
    time: list[float]
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, key: str = "key_one") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}", "X-Runway-Version": "2024-11-06"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        found = httpx.AsyncClient(transport=transport, base_url="http://worldstream.test/v1", headers=headers)
        self.clients.append(found)
        return found

    async def settle(self) -> None:
        await Keeper(self.services).tick()


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """A contract over a real SQLite, at noon of a day that `time[0]` moves."""
    database = Database(folder / "house.db", readers=2)
    database.migrate(library.MIGRATIONS)
    (folder / "scratch").mkdir()
    blobs = FolderBlobs(folder / "blobs")
    board, assets, door = (
        ScriptedBoard(blobs, folder / "scratch"),
        BelievedAssets(blobs, folder / "scratch"),
        StrictDoor(),
    )
    time = [1_763_726_400.0]
    services = Services(database, board, assets, blobs, door, folder, lambda: time[0], signing_secret=b"s" * 32)
    outer = FastAPI(openapi_url=None)
    outer.mount("/v1", runway_app(services, LIBRARY))
    found = House(outer, services, board, blobs, assets, door, time)
    yield found
    for client in found.clients:
        await client.aclose()
    database.close()
