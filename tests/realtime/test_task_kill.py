"""The server is killed, again and again, under a queue of fifty tasks; nothing is lost, and nothing is done twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.realtime.serve_tasks import forked

KINDS = "tests.realtime.quick_jobs"
SETTINGS = "attempts=1000 poll_s=0.05"
IMPORTED = ["tests.realtime.serve_tasks", "worldstream.realtime.offline", "worldstream.realtime.task_routes", "uvicorn"]
ROUNDS = 20
MAX_ROUNDS = 100  # on a busy machine a round may end before much was sent
QUEUED = 50
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass
class Running:
    """A server."""

    process: Any
    port: int

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def tasks_of(server: Running) -> list[dict[str, Any]]:
    """All of them, page by page."""
    found: list[dict[str, Any]] = []
    with httpx.Client(base_url=server.url, timeout=20.0) as client:
        page = client.get("/api/tasks?limit=100").json()
        found += page["tasks"]
        while page["next"] is not None:
            page = client.get("/api/tasks", params={"limit": "100", "before": page["next"]}).json()
            found += page["tasks"]
    return found


def keys(task: dict[str, Any]) -> list[str]:
    """Of its outputs, without where the server was and for how long they can be read."""
    return [url.partition("?")[0].split("/v1/outputs/")[1] for url in task["outputs"]]


def submit_until(server: Running, deadline_s: float, missing: int) -> list[str]:
    """Send up to `missing` tasks before the moment comes; returns the ids that were promised."""
    promised = []
    with httpx.Client(base_url=server.url, timeout=5.0) as client:
        for _ in range(missing):
            if time.monotonic() > deadline_s:
                break
            answer = client.post("/api/tasks", json={"kind": "write", "params": {"steps": 2, "step_s": 0.002}})
            assert answer.status_code == 201, answer.text
            promised.append(answer.json()["id"])
    return promised


@pytest.mark.slow
def test_kill_nine_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random(20)
    processes = multiprocessing.get_context("forkserver")  # importing takes longer than all the rest of a round
    processes.set_forkserver_preload(IMPORTED)

    @contextmanager
    def a_server() -> Iterator[Running]:
        said, says = processes.Pipe(duplex=False)
        process = processes.Process(target=forked, args=(str(tmp_path), KINDS, SETTINGS, says))
        process.start()
        says.close()
        with said, os.fdopen(os.dup(said.fileno())) as lines:
            line = lines.readline()
            assert line.startswith("listening on "), line
            yield Running(process, int(line.split()[-1]))
        process.kill()
        process.join()

    promised: list[str] = []
    ended_before: dict[str, list[str]] = {}
    killed_with: list[int] = []
    while len(killed_with) < ROUNDS or (len(promised) < QUEUED and len(killed_with) < MAX_ROUNDS):
        with a_server() as server:
            moment_s = time.monotonic() + chance.uniform(0.0, 1.0)
            open_tasks = len(promised) - len(ended_before)
            promised += submit_until(server, moment_s, QUEUED - open_tasks)
            if time.monotonic() < moment_s:
                for task in tasks_of(server):
                    if task["state"] in FINAL:  # what once ended stays as it was
                        assert ended_before.setdefault(str(task["id"]), keys(task)) == keys(task)
            time.sleep(max(0.0, moment_s - time.monotonic()))
            children = psutil.Process(server.pid).children(recursive=True)
            os.kill(server.pid, signal.SIGKILL)
            killed_with.append(len(promised) - len(ended_before))
            psutil.wait_procs(children, timeout=5.0)
            assert not any(child.is_running() for child in children)  # jobs die with their server
    with a_server() as server:
        deadline_s = time.monotonic() + 30.0
        tasks = tasks_of(server)
        while any(task["state"] not in FINAL for task in tasks):
            assert time.monotonic() < deadline_s, "tasks did not end"
            time.sleep(0.2)
            tasks = tasks_of(server)
        os.kill(server.pid, signal.SIGTERM)
        server.process.join(15.0)
    assert set(promised) <= {task["id"] for task in tasks}
    assert len(promised) >= QUEUED
    assert max(killed_with) >= QUEUED - 5
    for task in tasks:
        assert task["state"] == "SUCCEEDED", task
        assert ended_before.get(str(task["id"]), keys(task)) == keys(task)
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in files) == sorted(str(task["id"]) for task in tasks)  # one result each
    assert sorted(path.relative_to(tmp_path / "blobs").parts[1] for path in files) == sorted(
        str(task["id"]) for task in tasks
    )
    assert not [path for path in (tmp_path / "servers").rglob("*") if path.is_file() and path.parent.suffix]  # scratch
