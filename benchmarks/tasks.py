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
HEADERS = {"Authorization": "Bearer key_test", "X-Runway-Version": "2024-11-06"}
SETTINGS = {"WORLDSTREAM_TEST_TASKS": "per_model=8 light=2"}


@dataclass
class Burst:
    """What was measured."""

    created: dict[str, str] = field(default_factory=dict)  # id -> last state seen
    create_s: list[float] = field(default_factory=list)
    look_s: list[float] = field(default_factory=list)
    burst_s: float = 0.0
    whole_s: float = 0.0

    @property
    def open(self) -> list[str]:
        return [id for id, state in self.created.items() if state not in FINAL]


async def burst(server: TaskServer, count: int, patience_s: float) -> Burst:
    """Submit `count` tasks as fast as the server takes them, and look until all have ended."""
    found, chance, began_s = Burst(), random.Random(1), time.perf_counter()
    limits = httpx.Limits(max_connections=SENDERS + LOOKERS)
    async with httpx.AsyncClient(base_url=server.url, timeout=60.0, headers=HEADERS, limits=limits) as client:
        await client.get("/v1/tasks/00000000-0000-4000-8000-000000000000")  # the server may still be starting
        began_s = time.perf_counter()
        numbers = iter(range(count))

        async def send() -> None:
            for number in numbers:
                before_s = time.perf_counter()
                body = {"kind": "write", "params": {"prompt": f"number {number}", "seed": number}}
                answer = await client.post("/api/tasks", json=body)
                found.create_s.append(time.perf_counter() - before_s)
                assert answer.status_code == 201, answer.text
                found.created[answer.json()["id"]] = "PENDING"

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
            lookers = [asyncio.create_task(look()) for _ in range(LOOKERS)]
            await asyncio.gather(*(send() for _ in range(SENDERS)))
            found.burst_s = time.perf_counter() - began_s
            await asyncio.gather(*lookers)
            found.whole_s = time.perf_counter() - began_s
    return found


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
    arguments = parser.parse_args()
    count = arguments.tasks or (100 if arguments.quick else 1000)
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
