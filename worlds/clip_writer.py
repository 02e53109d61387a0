"""Encoding in a thread of its own while the model draws.

Frames wait in a short queue: the model is never more than a few ahead, and memory stays flat however long the clip.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Made = TypeVar("Made")
WAITING = 8  # frames
_LOOK_S = 0.1  # how soon a writer that has given up is noticed


class Abandoned(Exception):
    """Ends the encoder's work: nobody wants the file any more."""


class Writer(Generic[Made]):
    """`write` consumes the frames that are `put` and returns what it made; it runs in the writer's thread, and what it
    raises comes out of `put` or `finish`. Left without `finish`, its frames end with `Abandoned`, so that it can clean
    up after itself."""

    def __init__(self, write: Callable[[Iterator[Picture]], Made]) -> None:
        self._write = write
        self._frames: queue.Queue[Picture | BaseException | None] = queue.Queue(WAITING)
        self._made: list[Made] = []
        self._error: BaseException | None = None
        self._over = threading.Event()
        self.taken = 0  # frames that the encoder has begun with
        self._thread = threading.Thread(target=self._work, name="clip-writer", daemon=True)

    def __enter__(self) -> Writer[Made]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._over.is_set():
            self._offer(Abandoned())
        self._thread.join()

    def put(self, rgb: Picture) -> None:
        """Wait for a place in the queue. Raises what the encoder raised."""
        self._offer(rgb)
        if self._error is not None:
            raise self._error

    def finish(self) -> Made:
        """After the last frame: what `write` returned. Raises what it raised."""
        self._offer(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._made[0]

    def _offer(self, item: Picture | BaseException | None) -> None:
        while not self._over.is_set():
            try:
                self._frames.put(item, timeout=_LOOK_S)
                return
            except queue.Full:
                continue

    def _work(self) -> None:
        try:
            self._made.append(self._write(self._coming()))
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()

    def _coming(self) -> Iterator[Picture]:
        while (item := self._frames.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self.taken += 1
            yield item
