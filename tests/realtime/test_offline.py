"""The offline half as a whole: what it needs to start, and that worlds are served where it cannot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.realtime.queues import ROOT
from worldstream.realtime.config import ServerConfig
from worldstream.realtime.errors import StartupError
from worldstream.realtime.governance.gate import KeysNeeded
from worldstream.realtime.offline import Offline, migrations
from worldstream.realtime.serve import offline_half
from worldstream.realtime.webhooks import secret_bytes

WITHOUT = """
import sys
sys.modules["sqlalchemy"] = None  # as where it is not installed
from pathlib import Path
from tests.realtime.fake_world import FakeWorld
from worldstream.realtime.config import ServerConfig
from worldstream.realtime.serve import build_app, offline_half
config = ServerConfig(data=Path(sys.argv[1]))
offline = offline_half(config)
assert offline is None
routes = {getattr(route, "path", "") for route in build_app(config, FakeWorld(), offline).routes}
assert "/api/world" in routes and "/api/tasks" not in routes, routes
"""


def test_worlds_are_served_without_what_tasks_need(tmp_path: Path) -> None:
    paths = {"PYTHONPATH": f"{ROOT / '.links'}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    code = WITHOUT
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "sqlalchemy is not installed" in done.stderr


def test_strangers_are_kept_out(config: ServerConfig) -> None:
    with pytest.raises(KeysNeeded, match=r"Others can reach 0\.0\.0\.0"):
        offline_half(replace(config, host="0.0.0.0"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"database": "nonsense://x"}, "tasks cannot be kept"),
        ({"database": "postgresql://127.0.0.1:1/x"}, "the database cannot be used"),
        ({"blobs": "ftp://x"}, "s3://bucket"),
        ({"webhook_secret": "secret"}, "whsec_"),
    ],
)
def test_settings_that_cannot_be(config: ServerConfig, changes: dict[str, str], text: str) -> None:
    with pytest.raises(StartupError, match=text) as raised:
        offline_half(replace(config, **changes))  # type: ignore[arg-type]
    assert "\n" not in raised.value.message


def test_the_webhook_secret_can_be_read_and_stays(config: ServerConfig) -> None:
    said = []
    for _ in range(2):
        offline = Offline(config)
        offline.database.close()
        said.append((config.data / "webhook-secret").read_text().strip())
    assert said[0] == said[1]
    assert len(secret_bytes(said[0])) == 32
    assert (config.data / "webhook-secret").stat().st_mode & 0o777 == 0o600


def test_every_table_is_made(config: ServerConfig) -> None:
    offline = Offline(config)
    offline.prepare()
    assert offline.database.migrate(migrations()) == []  # all have run
    assert {"tasks-1", "webhooks-1"} <= {step.name for step in migrations()}
    offline.database.close()
