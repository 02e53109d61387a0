"""A thousand tasks in a burst: what creating and looking at them takes, and that every one reaches its end.

    python benchmarks/tasks.py [--quick] [--json FILE] [--tasks N] [--database URL]

A real server process without a live world, quick jobs that write one small file in real job processes, and 20 clients
that look at random tasks by GET /v1/tasks/{id}, 200 times a second together, from the first submission to the last end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_most, print_table, quantile, write
from tests.realtime.serve_tasks import TaskServer, task_server

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
SENDERS = 8
LOOKERS = 20
LOOKS_PER_S = 200.0
START_S = 1.0  # of the senders
HEADERS = {"Authorization": "Bearer key_test", "X-Runway-Version": "2024-11-06"}
SETTINGS = {"WORLDSTREAM_TEST_TASKS": "per_model=8 light=2"}


@dataclass
class Burst:
    """What was measured."""

    created: dict[str, str] = field(default_factory=dict)  # id -> last state seen
    create_s: list[float] = field(default_factory=list)
    look_s: list[float] = field(default_factory=list)
    burst_s: float = 0.0  # from the first submission to the last
    whole_s: float = 0.0

    @property
    def open(self) -> list[str]:
        return [id for id, state in self.created.items() if state not in FINAL]


async def burst(server: TaskServer, count: int, patience_s: float) -> Burst:
    """Submit `count` tasks as fast as the server takes them, and look until all have ended. The senders are a process
    of their own, so that what is measured is the server and not the queue inside the client."""
    found, chance = Burst(), random.Random(1)
    async with httpx.AsyncClient(base_url=server.url, timeout=60.0, headers=HEADERS) as client:
        await warm(client)
        command = [sys.executable, __file__, "--send", server.url, "--tasks", str(count)]
        sender = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        began_s = time.perf_counter()

        async def listen() -> None:
            assert sender.stdout is not None
            async for line in sender.stdout:
                id, seconds = line.decode().split()
                found.created[id] = "PENDING"
                found.create_s.append(float(seconds))
            found.burst_s = time.perf_counter() - began_s - START_S

        async def look() -> None:
            while len(found.created) < count or found.open:
                await asyncio.sleep(chance.expovariate(LOOKS_PER_S / LOOKERS))
                if found.created:
                    id = chance.choice(found.open or list(found.created))
                    before_s = time.perf_counter()
                    answer = await client.get(f"/v1/tasks/{id}")
                    found.look_s.append(time.perf_counter() - before_s)
                    assert answer.status_code == 200, answer.text
                    found.created[id] = answer.json()["status"]

        async with asyncio.timeout(patience_s):
            await asyncio.gather(listen(), *(look() for _ in range(LOOKERS)))
            assert await sender.wait() == 0
            found.whole_s = time.perf_counter() - began_s - START_S
    return found


async def warm(client: httpx.AsyncClient) -> None:
    """The job processes start at their first tasks, which is not what is measured here."""
    ids = []
    for _ in range(4):
        answer = await client.post("/api/tasks", json={"kind": "write", "params": {"step_s": 0.5}})
        ids.append(answer.json()["id"])
    for id in ids:
        while (await client.get(f"/v1/tasks/{id}")).json()["status"] not in FINAL:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def send(url: str, count: int) -> None:
    """The senders' process: prints the id of each task and how long it took to create."""
    numbers = iter(range(count))
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        await asyncio.sleep(START_S)  # the same for every run, whatever importing took

        async def one() -> None:
            for number in numbers:
                before_s = time.perf_counter()
                body = {"kind": "write", "params": {"prompt": f"number {number}", "seed": number}}
                answer = await client.post("/api/tasks", json=body)
                seconds = time.perf_counter() - before_s
                assert answer.status_code == 201, answer.text
                print(answer.json()["id"], f"{seconds:.6f}", flush=True)

        await asyncio.gather(*(one() for _ in range(SENDERS)))


def figures_of(found: Burst, count: int) -> list[Figure]:
    ended = sum(state in FINAL for state in found.created.values())
    return [
        Figure("tasks that reached a final state", ended, f"of {count}"),
        Figure("tasks that succeeded", sum(s == "SUCCEEDED" for s in found.created.values()), f"of {count}"),
        at_most("GET /v1/tasks/{id}, p99", 1e3 * quantile(found.look_s, 0.99), "ms", 50.0),
        Figure("GET /v1/tasks/{id}, median", 1e3 * quantile(found.look_s, 0.5), "ms"),
        Figure("GET /v1/tasks/{id}, slowest", 1e3 * max(found.look_s), "ms"),
        Figure("looks", len(found.look_s), ""),
        Figure("creating a task, p99", 1e3 * quantile(found.create_s, 0.99), "ms"),
        Figure("creating tasks", count / found.burst_s, "per s"),
        Figure("from the first submission to the last end", found.whole_s, "s"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="a hundred tasks")
    parser.add_argument("--tasks", type=int, default=0, help="how many (default 1000)")
    parser.add_argument("--database", default="", help="of the server (default: SQLite)")
    parser.add_argument("--send", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = arguments.tasks or (100 if arguments.quick else 1000)
    if arguments.send:
        asyncio.run(send(arguments.send, count))
        return 0
    flags = ["--database", arguments.database] if arguments.database else []
    with (
        tempfile.TemporaryDirectory(prefix="worldstream-") as data,
        task_server(Path(data), *flags, kinds="tests.realtime.quick_jobs", environment=SETTINGS) as server,
    ):
        figures = figures_of(asyncio.run(burst(server, count, 600.0)), count)
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
