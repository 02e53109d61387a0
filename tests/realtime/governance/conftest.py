"""A PostgreSQL of the tests' own."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worldstream.realtime.store.database import Database


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    if sys.version_info >= (3, 13):
        pytest.skip("the PostgreSQL of the tests comes for Python 3.11 and 3.12")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # asked for while it is imported
    pgserver: Any = importlib.import_module("pgserver")

    server = pgserver.get_server(tmp_path / "postgres", cleanup_mode="stop")
    database = Database(server.get_uri())
    yield database
    database.close()
    server.cleanup()
