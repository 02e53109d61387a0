"""Databases for the tests of the store: SQLite in a file, and a real PostgreSQL of its own where there is one."""

from __future__ import annotations

import importlib
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from worldstream.realtime.store.database import Database


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """Of a PostgreSQL that only this module's tests use."""
    if sys.version_info >= (3, 13) or sys.platform != "linux":
        pytest.skip("pgserver has no wheel for this Python")
    with tempfile.TemporaryDirectory(prefix="worldstream-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a run-time folder that a CI has not
            pgserver = importlib.import_module("pgserver")
            server = pgserver.get_server(folder, cleanup_mode=None)
        try:
            yield server.get_uri()
        finally:
            server.cleanup_mode = "stop"
            server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url")
    database = Database(found)
    database.now(lambda c: c.execute(sa.text("DROP SCHEMA public CASCADE; CREATE SCHEMA public")))
    database.close()
    return found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()
