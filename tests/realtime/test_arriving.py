"""Bodies as they arrive: too large, too slow, too many at once; by a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from tests.realtime.doubles import Clock
from worldstream.realtime.arriving import Arrival, ArrivalConfig, Arrivals
from worldstream.realtime.body_limits import Limit

LIMIT = Limit(1000)


def piece(size: int, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


class Sender:
    """Sends what it is given, each piece so many seconds after the one before; then nothing more."""

    def __init__(self, clock: Clock, pieces: list[tuple[float, dict[str, Any]]]) -> None:
        self.clock, self.pieces = clock, pieces

    async def __call__(self) -> MutableMapping[str, Any]:
        if not self.pieces:
            await asyncio.Event().wait()
        after_s, message = self.pieces.pop(0)
        self.clock.now_s += after_s
        return message


async def heard(arrival: Arrival) -> int:
    """Bytes that the application gets."""
    total = 0
    while (message := await arrival.receive())["type"] == "http.request":
        total += len(message["body"])
        if not message["more_body"]:
            break
    return total


async def test_all_of_a_body_that_comes_in_time(clock: Clock) -> None:
    all = Arrivals(clock=clock)
    arrival = Arrival(all, LIMIT, Sender(clock, [(0.0, piece(400)), (9.0, piece(600, more=False))]))
    assert await heard(arrival) == 1000
    assert (arrival.refusal, all.held) == (None, 1000)
    arrival.end()
    arrival.end()  # twice is harmless
    assert all.held == 0


async def test_a_trickle_is_refused_by_its_pace(clock: Clock) -> None:
    drips = [(10.0, piece(10)) for _ in range(20)]
    arrival = Arrival(Arrivals(clock=clock), LIMIT, Sender(clock, drips))
    assert await heard(arrival) == 30  # until the grace of 30 s is over
    assert arrival.refusal is not None
    assert arrival.refusal.status == 408
    assert (await arrival.receive())["type"] == "http.disconnect"


async def test_silence_is_refused(clock: Clock) -> None:
    arrival = Arrival(Arrivals(ArrivalConfig(silence_s=0.02), clock), LIMIT, Sender(clock, [(0.0, piece(10))]))
    assert await heard(arrival) == 10
    assert arrival.refusal is not None
    assert arrival.refusal.status == 408


async def test_what_streams_to_disk_has_a_pace_of_its_own(clock: Clock) -> None:
    all = Arrivals(ArrivalConfig(silence_s=0.01, held_bytes=5), clock)
    slow = [(100.0, piece(10)) for _ in range(20)] + [(100.0, piece(0, more=False))]
    arrival = Arrival(all, Limit(1000, streams=True, held=False), Sender(clock, slow))
    assert await heard(arrival) == 200
    assert (arrival.refusal, all.held) == (None, 0)


@pytest.mark.parametrize("held", [True, False])
async def test_more_than_it_may(clock: Clock, held: bool) -> None:
    all = Arrivals(clock=clock)
    arrival = Arrival(all, Limit(1000, held=held), Sender(clock, [(0.0, piece(400))] * 9))
    assert await heard(arrival) == 800
    assert arrival.refusal is not None
    assert arrival.refusal.status == 413
    arrival.end()
    assert all.held == 0


async def test_many_together(clock: Clock) -> None:
    all = Arrivals(ArrivalConfig(held_bytes=1500), clock)
    first = Arrival(all, LIMIT, Sender(clock, [(0.0, piece(900)), (0.0, piece(100, more=False))]))
    assert (await first.receive())["type"] == "http.request"
    second = Arrival(all, LIMIT, Sender(clock, [(0.0, piece(700))]))
    assert await heard(second) == 0
    assert second.refusal is not None
    assert second.refusal.status == 503
    second.end()
    assert await heard(first) == 100  # whoever was first is served
    first.end()
    third = Arrival(all, LIMIT, Sender(clock, [(0.0, piece(1000, more=False))]))
    assert await heard(third) == 1000
    third.end()
    assert all.held == 0


async def test_waiting_for_the_client_to_go_takes_as_long_as_it_takes(clock: Clock) -> None:
    gone = {"type": "http.disconnect"}
    arrival = Arrival(
        Arrivals(ArrivalConfig(silence_s=0.01), clock), LIMIT, Sender(clock, [(0.0, piece(0, more=False))])
    )
    await arrival.receive()
    waiting = asyncio.create_task(arrival.receive())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()
    ended = Arrival(Arrivals(clock=clock), LIMIT, Sender(clock, [(0.0, dict(gone))]))
    assert await ended.receive() == gone
    assert ended.refusal is None
