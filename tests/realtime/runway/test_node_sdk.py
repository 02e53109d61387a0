"""The official SDK of Node, unmodified, against a real server process."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.realtime.runway import media
from tests.realtime.runway.routes import VERSIONS, note
from tests.realtime.runway.sdk_shapes import requests
from tests.realtime.serve_tasks import ROOT, task_server
from worldstream.realtime.runway.generation_routes import ENDPOINTS

ABSENT = {"character_performance", "avatar_videos", "robotics_action_to_video", "voice_dubbing"}
FEW = 3  # models of each endpoint: Runway's own, and others; the Python client is tried with all
NO_MODEL = {"ad_localization", "product_swap", "product_ugc"}  # which a plain install has none for
WORKFLOW = {"name": "Lakes", "nodes": [{"id": "a", "kind": "still", "params": {"prompt": "a lake"}}]}
MEMBERS = {"id": str, "createdAt": str, "status": str, "output": list, "cost": dict, "metadata": dict}


def test_the_sdk_is_the_one_that_is_named() -> None:
    package = json.loads((ROOT / "node_modules" / "@runwayml" / "sdk" / "package.json").read_text())
    assert package["version"] == VERSIONS["node"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script says came of everything."""
    folder = tmp_path_factory.mktemp("node")
    robot = {"model": "robotics_v1", "robotAction": [[0] * 7] * 18, "seed": 0, "promptImage": media.media()["image"]}
    calls: list[Any] = [
        (endpoint, media.example(endpoint, model, shape))
        for endpoint in ENDPOINTS
        if endpoint != "robotics_action_to_video"
        for model, shape in list(requests(endpoint.replace("avatar_videos", "avatar_video")))[:FEW]
    ] + [("robotics_action_to_video", robot)]
    uris = media.media() | {"video": media.data_uri("video/mp4", media.film(5.0))}
    files = {kind: str(path) for kind, path in media.write(folder).items()}
    environment = {"WORLDSTREAM_DUBBING_URL": ""}
    data = tmp_path_factory.mktemp("data")
    (data / "workflows").mkdir()
    (data / "workflows" / "lakes.json").write_text(json.dumps(WORKFLOW))
    with task_server(data, kinds="tests.realtime.runway.contract_jobs", environment=environment) as server:
        result = ran("node_sdk.mjs", {"base": server.url, "calls": calls, "files": files})
        return result | {"library": ran("node_library.mjs", {"base": server.url, **uris})}


def ran(script: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a script prints."""
    done = subprocess.run(
        ["scripts/node.sh", "node", str(Path(__file__).with_name(script)), str(ROOT)],
        cwd=ROOT,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_endpoint(found: dict[str, Any]) -> None:
    tasks = {task["id"]: task for task in found["tasks"]}
    counts: Counter[str] = Counter()
    for call in found["calls"]:
        route = f"POST /v1/{call['endpoint']}"
        if call["endpoint"] in ABSENT:
            assert (call["thrown"], call["status"]) == ("BadRequestError", 400), call
            (issue,) = call["body"]["issues"]
            assert issue["path"] == ["model"]
            note(route, "node", "refused", issue["message"])
            continue
        assert "value" in call, call
        assert isinstance(call["value"]["estimatedCost"]["credits"], int)
        counts[call["endpoint"]] += 1
        task = tasks[call["value"]["id"]]
        assert task["status"] == "SUCCEEDED", task
        for member, kind in MEMBERS.items():
            assert isinstance(task[member], kind), (member, task)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", task["createdAt"])
        assert task["metadata"] == task["metadata"] | {"requested": call["model"], "model": "stand-in"}
    for endpoint, count in counts.items():
        note(f"POST /v1/{endpoint}", "node", "works", f"{count} model" + "s" * (count > 1))


def test_waits(found: dict[str, Any]) -> None:
    waits = found["waits"]
    assert waits["succeeds"]["value"]["status"] == "SUCCEEDED"
    assert waits["downloaded"] > 0
    assert waits["fails"]["thrown"] == found["classes"][0]
    assert waits["fails"]["task"]["failureCode"] == "INPUT_PREPROCESSING.TEST"
    assert waits["late"]["thrown"] == found["classes"][1]
    assert (waits["gone"]["thrown"], waits["gone"]["status"]) == ("NotFoundError", 404)
    note("GET /v1/tasks/{id}", "node", "works")
    note("DELETE /v1/tasks/{id}", "node", "works")


def test_uploads_and_errors(found: dict[str, Any]) -> None:
    assert found["uploads"] == ["SUCCEEDED"] * 3
    bad, unknown = found["errors"]["bad"], found["errors"]["unknown"]
    assert (bad["thrown"], bad["body"]["issues"][0]["path"]) == ("BadRequestError", ["ratio"])
    assert (unknown["thrown"], unknown["body"]) == ("NotFoundError", {"error": "A task with this id was not found."})
    note("POST /v1/uploads", "node", "works")


def test_everything_that_is_kept_or_composed(found: dict[str, Any]) -> None:
    for route, outcome in found["library"].items():
        recipe = route.removeprefix("POST /v1/recipes/")
        if recipe in NO_MODEL:
            assert str(outcome).startswith("BadRequestError: "), (route, outcome)
            note(route, "node", "refused", outcome.removeprefix("BadRequestError: "))
        else:
            assert outcome is True, (route, outcome)
            note(route, "node", "works")
    assert len(found["library"]) == 48
