"""What the tests of the realtime layer share: a virtual clock, and a real server on a loopback port."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that `tests.realtime.fake_world` can be imported

from tests.realtime.doubles import Clock, RunningServer
from tests.realtime.fake_world import FakeWorld
from worldstream.realtime.config import ServerConfig, SessionConfig
from worldstream.realtime.serve import build_app, server_for
from worldstream.realtime.startup import listen


@pytest.fixture
def clock() -> Clock:
    """Time that only moves when the test says so."""
    return Clock()


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    """Defaults, with short limits where a test would have to wait for them."""
    sessions = replace(SessionConfig(), hello_timeout_s=0.3, connect_timeout_s=1.5, silence_limit_s=3.0, tick_s=0.05)
    return ServerConfig(port=0, data=tmp_path, log_level="warning", sessions=sessions)


@pytest_asyncio.fixture
async def server(config: ServerConfig) -> AsyncIterator[RunningServer]:
    """A real uvicorn on a loopback port, in this event loop."""
    listener = listen(config.host, config.port)
    app = build_app(config, FakeWorld())
    uvicorn_server = server_for(app, config)
    task = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
    while not uvicorn_server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.01)
    yield RunningServer(listener.getsockname()[1], app.state.house)
    uvicorn_server.should_exit = True
    await asyncio.wait_for(task, 10.0)
    listener.close()


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    """Every test leaves the worker threads it found."""

    def workers() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("worldstream")}

    before = workers()
    yield
    assert workers() == before
