"""What the tests of the HTTP contract share: services over stand-ins, and a client that sends what the SDKs send."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # so that `tests.realtime.runway.doubles` can be imported

from tests.realtime.runway.doubles import FolderBlobs, MemoryBoard, StrictDoor
from worldstream.realtime.runway.app import runway_app
from worldstream.realtime.services import Asset, Services
from worldstream.realtime.store.database import Database

HEADERS = {"Authorization": "Bearer key_one", "X-Runway-Version": "2024-11-06"}


@pytest.fixture
def door() -> StrictDoor:
    return StrictDoor()


@pytest.fixture
def services(tmp_path: Path, door: StrictDoor) -> Iterator[Services]:
    """Over stand-ins; the database is a real SQLite, and empty."""
    database = Database(tmp_path / "test.db")
    (tmp_path / "scratch").mkdir()
    blobs = FolderBlobs(tmp_path / "blobs")
    board = MemoryBoard(blobs, tmp_path / "scratch")
    yield Services(database, board, Nothing(), blobs, door, tmp_path, time.time, signing_secret=b"s" * 32)
    database.close()


class Nothing:
    """Assets of a test that gives none."""

    async def gather(self, owner: str, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        raise AssertionError(uri)


@pytest.fixture
def app(services: Services) -> FastAPI:
    """The server's mount: /v1 leads to the contract."""
    outer = FastAPI(openapi_url=None)
    outer.mount("/v1", runway_app(services))
    return outer


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to the contract without a socket, with key and version."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://worldstream.test", headers=HEADERS) as found:
        yield found
