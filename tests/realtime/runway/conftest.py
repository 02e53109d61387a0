"""What the tests of the HTTP contract share: services over stand-ins, and a client that sends what the SDKs send."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # so that `tests.realtime.runway.doubles` can be imported

from tests.realtime.runway.doubles import MemoryBoard, StrictDoor
from worldstream.realtime.assets.fetching import Address, Fetcher
from worldstream.realtime.assets.plain import PlainAssets
from worldstream.realtime.assets.probe import Probe, probe
from worldstream.realtime.assets.uploads import UploadStore
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.runway.app import furnish, runway_app
from worldstream.realtime.runway.ledgers import TaskLedger
from worldstream.realtime.runway.models import Catalogue
from worldstream.realtime.services import Services
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
    secret = b"s" * 32
    uploads = UploadStore(blobs, secret, time.time)
    assets = PlainAssets(blobs, uploads, tmp_path / "incoming", Fetcher(resolve=nowhere), looked)
    yield Services(database, board, assets, blobs, door, tmp_path, time.time, signing_secret=secret)
    database.close()


async def looked(path: Path, wanted: str) -> Probe:
    """In this process: the server has one of its own for it."""
    return await asyncio.to_thread(probe, path, wanted)


async def nowhere(host: str, port: int) -> list[Address]:
    """Tests ask no DNS."""
    raise OSError(host)


@pytest.fixture(scope="session")
def bare() -> FastAPI:
    """The contract, to be furnished by each test: it takes a while to build."""
    nothing: Any = None
    return runway_app(Services(nothing, nothing, nothing, nothing, nothing, Path("/nonexistent"), time.time))


@pytest.fixture
def app(bare: FastAPI, services: Services) -> FastAPI:
    """The server's mount: /v1 leads to the contract."""
    furnish(bare, services, Catalogue())
    bare.state.ledger = TaskLedger(services)
    outer = FastAPI(openapi_url=None)
    outer.mount("/v1", bare)
    return outer


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to the contract without a socket, with key and version."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://worldstream.test", headers=HEADERS) as found:
        yield found
