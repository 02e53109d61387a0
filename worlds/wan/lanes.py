"""Two lanes of work on one device: blocks are drawn on the one, pictures are decoded beside it on the other.

Marks say where a lane has come to. The decoding of a block waits, on the device, for the mark that its drawing has set;
the host waits for pictures alone, so that the next block can be put in line, and drawn, while they are decoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Lanes(Protocol):
    """A device's two lanes, or what stands in for them."""

    beside: bool  # whether work that is put in line returns before it is done

    def mark(self) -> Any:
        """A mark behind what is in the current lane's line."""
        ...

    def decoding(self, after: Any, latents: Tensor) -> Any:
        """A context: work inside is put in the decoding lane's line, behind the mark `after`; it reads `latents`."""
        ...

    def wait(self, mark: Any) -> None:
        """The host waits until a mark is reached."""
        ...

    def join(self) -> None:
        """What is drawn from now on comes after all decoding so far."""
        ...

    def elapsed_ms(self, begin: Any, end: Any) -> float:
        """Between two marks that were reached."""
        ...


class HostLanes:
    """A CPU does one thing after another."""

    beside = False

    def mark(self) -> float:
        return time.perf_counter()

    @contextmanager
    def decoding(self, after: float, latents: Tensor) -> Iterator[None]:
        yield

    def wait(self, mark: float) -> None:
        """Everything before a mark is done."""

    def join(self) -> None:
        """It is."""

    def elapsed_ms(self, begin: float, end: float) -> float:
        return 1e3 * (end - begin)


class CudaLanes:
    """The current stream, and one for decoding."""

    beside = True

    def __init__(self, device: torch.device) -> None:
        self._decoding = torch.cuda.Stream(device)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @contextmanager
    def decoding(self, after: torch.cuda.Event, latents: Tensor) -> Iterator[None]:
        latents.record_stream(self._decoding)
        with torch.cuda.stream(self._decoding):
            self._decoding.wait_event(after)
            yield

    def wait(self, mark: torch.cuda.Event) -> None:
        mark.synchronize()

    def join(self) -> None:
        torch.cuda.current_stream().wait_stream(self._decoding)

    def elapsed_ms(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return begin.elapsed_time(end)


def lanes_of(device: torch.device) -> Lanes:
    """For what lies on `device`."""
    return CudaLanes(device) if device.type == "cuda" else HostLanes()
