"""A real server for the tests of what strangers may try."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.realtime.hostile.watching import HEADERS
from tests.realtime.runway.media import data_uri, picture
from tests.realtime.serve_tasks import TaskServer, task_server

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


@pytest.fixture(autouse=True)
def no_stray_threads() -> None:
    """The server is another process."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="session")
def server(data: Path) -> Iterator[TaskServer]:
    """With the kinds of jobs that there are, and with media from http and private addresses allowed."""
    settings = {
        "WORLDSTREAM_LOCAL_HTTP": "1",
        "WORLDSTREAM_TEST_TASKS": "heavy=0 poll_s=0.1",
        "WORLDSTREAM_TEST_ARRIVALS": "silence_s=1.0",
        "WORLDSTREAM_TEST_SILENCE": "1.0",
    }
    with task_server(data, environment=settings) as found:
        yield found


@pytest.fixture(scope="session")
def client(server: TaskServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers=HEADERS, timeout=60.0) as found:
        yield found


@pytest.fixture(scope="session")
def task(client: httpx.Client) -> str:
    """A task of somebody else, done; every process of the server has been used once."""
    made = ordered(client, "portrait", {"image": data_uri("image/png", picture())}, {"width": 64, "height": 64}).json()
    ended(client, made["id"])
    return str(made["id"])


def ordered(
    client: httpx.Client, kind: str, inputs: dict[str, str], params: Mapping[str, object] | None = None
) -> httpx.Response:
    return client.post("/api/tasks", json={"kind": kind, "params": params or {}, "inputs": inputs})


def ended(client: httpx.Client, id: str, limit_s: float = 60.0) -> dict[str, Any]:
    """A task when it is over."""
    began_s = time.monotonic()
    while True:
        found: dict[str, Any] = client.get(f"/api/tasks/{id}").json()
        if found["state"] in FINAL:
            return found
        assert time.monotonic() - began_s < limit_s, f"task {id} does not end: {found}"
        time.sleep(0.05)
