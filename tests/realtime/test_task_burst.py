"""A burst of tasks, in small: benchmarks/tasks.py takes a thousand and has the figures."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.realtime.serve_tasks import task_server

COUNT = 150
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


def test_every_task_of_a_burst_reaches_its_end(tmp_path: Path) -> None:
    with (
        task_server(tmp_path, kinds="tests.realtime.quick_jobs") as server,
        httpx.Client(base_url=server.url, timeout=30.0) as client,
    ):
        made = [client.post("/api/tasks", json={"kind": "write"}).json() for _ in range(COUNT)]
        assert {task["state"] for task in made} >= {"PENDING", "THROTTLED"}
        for task in made:  # the events of a task end with it
            with client.stream("GET", f"/api/tasks/{task['id']}/events") as events:
                assert events.read().count(b"\n\n") >= 1
        states = [client.get(f"/api/tasks/{task['id']}").json()["state"] for task in made]
        assert states == ["SUCCEEDED"] * COUNT
        assert len(list((tmp_path / "blobs").rglob("*.txt"))) == COUNT
