"""Who watches which task. A watcher that is slow sees the newest, and loses only what was in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from .tasks import TaskEvent


class Watcher:
    """One who watches; lives on the event loop."""

    def __init__(self) -> None:
        self._newest: TaskEvent | None = None
        self._arrived = asyncio.Event()

    def tell(self, event: TaskEvent) -> None:
        """Never blocks."""
        if self._newest is not None and event.preview_jpeg is None:
            event = replace(event, preview_jpeg=self._newest.preview_jpeg)
        self._newest = event
        self._arrived.set()

    async def next(self, patience_s: float) -> TaskEvent | None:
        """The newest that was not taken yet; None where nothing came in time."""
        try:
            async with asyncio.timeout(patience_s):
                await self._arrived.wait()
        except TimeoutError:
            return None
        self._arrived.clear()
        event, self._newest = self._newest, None
        return event


class Watchers:
    """All of them, by task."""

    def __init__(self) -> None:
        self._of: dict[str, set[Watcher]] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._of

    def tell(self, event: TaskEvent) -> None:
        for watcher in self._of.get(event.task.id, ()):
            watcher.tell(event)

    @contextmanager
    def watching(self, id: str) -> Iterator[Watcher]:
        watcher = Watcher()
        self._of.setdefault(id, set()).add(watcher)
        try:
            yield watcher
        finally:
            self._of[id].discard(watcher)
            if not self._of[id]:
                del self._of[id]
