"""The official Python SDK of May 2025, which knows other members and model names, against the same server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.realtime.runway import media
from tests.realtime.runway.routes import VERSIONS, note
from tests.realtime.serve_tasks import ROOT, task_server


def test_an_older_client_works_unmodified(tmp_path: Path) -> None:
    place = ROOT / ".venv" / "sdks" / f"runwayml-{VERSIONS['older python']}"
    assert place.is_dir(), f"run scripts/sdks.sh: {place} is missing"
    script = Path(__file__).with_name("older_sdk.py")
    with task_server(tmp_path, kinds="tests.realtime.runway.contract_jobs") as server:
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), server.url],
            env={**os.environ, "PYTHONPATH": str(place)},
            input=media.media()["image"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found["version"] == VERSIONS["older python"]
    assert {model: state[:2] for model, state in found["models"].items()} == {
        "gen4_turbo": ["SUCCEEDED", 1],
        "gen3a_turbo": ["SUCCEEDED", 1],
    }
    assert found["deleted"][0] == "NotFoundError"
    assert found["wrong"][0] == "BadRequestError"
    assert found["wrong"][1]["issues"][0]["path"] == ["ratio"]
    assert all(isinstance(credits, int) and credits > 0 for credits in found["organization"])
    note("POST /v1/image_to_video", "older python", "works", "gen4_turbo, gen3a_turbo")
    note("GET /v1/tasks/{id}", "older python", "works")
    note("DELETE /v1/tasks/{id}", "older python", "works")
    note("GET /v1/organization", "older python", "works")
