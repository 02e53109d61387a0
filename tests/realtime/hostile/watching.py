"""What a server under attack is watched for: its memory, its files, and how soon it answers others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

HEADERS = {"Authorization": "Bearer key_one", "X-Runway-Version": "2024-11-06"}
FLAT_BYTES = 64 * 2**20


@dataclass
class Watch:
    """Figures of an attack."""

    before: int
    peak: int = 0
    after: int = 0
    answers_s: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def growth(self) -> int:
        return max(self.peak, self.after) - self.before

    def slow_s(self, share: float = 0.99) -> float:
        return sorted(self.answers_s)[min(len(self.answers_s) - 1, int(share * len(self.answers_s)))]


def memory(pid: int) -> int:
    """Resident bytes of a process and all below it; what they share is counted for each."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def watched(pid: int, url: str, task: str) -> Iterator[Watch]:
    """Look at the memory every 20 ms, and ask for a task over and over, as somebody else would."""
    found, stop = Watch(memory(pid)), threading.Event()

    def weigh() -> None:
        while not stop.wait(0.02):
            found.peak = max(found.peak, memory(pid))

    def ask() -> None:
        with httpx.Client(base_url=url, headers=HEADERS, timeout=30.0) as client:
            while not stop.is_set():
                began_s = time.monotonic()
                answer = client.get(f"/v1/tasks/{task}")
                found.answers_s.append(time.monotonic() - began_s)
                if answer.status_code != 200:
                    found.troubles.append(answer.text)
                stop.wait(0.01)

    threads = [threading.Thread(target=weigh), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        found.after = memory(pid)


def left(data: Path) -> set[str]:
    """Every file on its way in or kept."""
    folders = (data / "incoming", data / "blobs", data / "scratch")
    return {str(path.relative_to(data)) for folder in folders for path in folder.rglob("*") if path.is_file()}
