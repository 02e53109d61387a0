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

from tests.realtime.runway.doubles import MemoryBoard, StrictDoor
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.runway.app import runway_app
from worldstream.realtime.runway.errors import invalid
from worldstream.realtime.runway.library_subjects import LIBRARY
from worldstream.realtime.runway.models import Catalogue
from worldstream.realtime.runway.rooms import new_key
from worldstream.realtime.services import Asset, Services
from worldstream.realtime.store import governance, library, routers, workflows
from worldstream.realtime.store.database import Database
from worldstream.realtime.store.library import RealtimeSession
from worldstream.realtime.talks import RoomRefused, Talks, token
from worldstream.realtime.tasks import NewTask, Task
from worldstream.realtime.upkeep import Upkeep

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
    """Tasks stay PENDING until the test says what becomes of them; `quick` ends them at once. Finds a task again by its
    mark."""

    quick = False
    made: dict[str, str]

    async def create(self, new: NewTask) -> Task:
        self.made = getattr(self, "made", {})
        if new.again and new.retry_of in self.made:
            return self.tasks[self.made[new.retry_of]]
        task = await super().create(new)
        if not self.quick:
            task = replace(task, state="PENDING", progress=0.0)
            self.tasks[task.id] = task
        self.made[new.retry_of] = task.id
        return task

    async def repeated(self, owner: str, retry_of: str) -> Task | None:
        return self.tasks.get(getattr(self, "made", {}).get(retry_of, ""))

    def now(self, id: str, state: str, **values: Any) -> None:
        self.tasks[id] = replace(self.tasks[id], state=state, **values)

    def end_all(self) -> None:
        """Every task that waits succeeds."""
        for id, task in self.tasks.items():
            if task.state == "PENDING":
                self.now(id, "SUCCEEDED")


@dataclass
class KindRooms:
    """Media rooms that always stand, unless told otherwise."""

    refuses: str = ""
    prepared: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def url(self, base_url: str) -> str:
        return base_url.replace("http", "ws", 1)

    def sign(self, claims: dict[str, Any]) -> str:
        return token(claims, b"secret of the room" * 2)

    async def prepare(self, session: RealtimeSession) -> None:
        if self.refuses:
            raise RoomRefused("INTERNAL", self.refuses)
        self.prepared.append(session.id)

    async def close(self, session: RealtimeSession) -> None:
        self.closed.append(session.id)


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
    rooms: KindRooms | None
    inner: FastAPI  # without the mount
    files: Path  # where the blobs lie
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, key: str = "key_one") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}", "X-Runway-Version": "2024-11-06"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        found = httpx.AsyncClient(transport=transport, base_url="http://worldstream.test/v1", headers=headers)
        self.clients.append(found)
        return found

    @property
    def upkeep(self) -> Upkeep:
        return Upkeep(self.services, Catalogue(), self.rooms)

    @property
    def talks(self) -> Talks:
        assert self.rooms is not None
        return Talks(self.services, self.rooms, new_key)

    async def settle(self) -> None:
        """Every task succeeds, and everything takes note of it."""
        self.board.end_all()
        await self.upkeep.tick()


@asynccontextmanager
async def house(folder: Path, rooms: KindRooms | None = None) -> AsyncIterator[House]:
    """A contract over a real SQLite, at noon of a day that `time[0]` moves."""
    database = Database(folder / "house.db", readers=2)
    database.migrate([*library.MIGRATIONS, *routers.MIGRATIONS, *workflows.MIGRATIONS, *governance.MIGRATIONS])
    (folder / "scratch").mkdir()
    blobs = FolderBlobs(folder / "blobs")
    board = ScriptedBoard(blobs, folder / "scratch")
    assets, door = BelievedAssets(blobs, folder / "scratch"), StrictDoor()
    time = [1_763_726_400.0]
    services = Services(database, board, assets, blobs, door, folder, lambda: time[0], signing_secret=b"s" * 32)
    inner = runway_app(services, LIBRARY)
    if rooms is not None:
        inner.state.rooms = rooms
    outer = FastAPI(openapi_url=None)
    outer.mount("/v1", inner)
    found = House(outer, services, board, blobs, assets, door, time, rooms, inner, folder / "blobs")
    yield found
    for client in found.clients:
        await client.aclose()
    database.close()
