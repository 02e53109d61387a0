"""Who was admitted a moment ago is not looked up again; who was refused is."""

from __future__ import annotations

import pytest

from tests.realtime.doubles import Clock, OpenDoor
from worldstream.realtime.admission import MAX_REMEMBERED, REMEMBERED_S, Remembered
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.services import Caller


class Door(OpenDoor):
    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str]] = []

    async def admit(self, secret: str | None, scope: str) -> Caller:
        self.asked.append((secret, scope))
        if secret == "bad":
            raise ApiError(401, "no")
        return Caller(f"{secret}-{len(self.asked)}")


async def test_a_key_is_looked_up_once_a_second(clock: Clock) -> None:
    door = Door()
    gate = Remembered(door, clock)
    first = await gate.admit("a", "tasks")
    assert await gate.admit("a", "tasks") is first
    assert await gate.admit("a", "generate") is not first  # scopes are apart
    assert (await gate.admit("b", "tasks")).key == "b-3"
    clock.advance(REMEMBERED_S)
    assert await gate.admit("a", "tasks") is not first
    for _ in range(2):
        with pytest.raises(ApiError):
            await gate.admit("bad", "tasks")
    assert len(door.asked) == 6
    for number in range(3 * MAX_REMEMBERED):
        await gate.admit(str(number), "tasks")
    assert len(gate._known) <= MAX_REMEMBERED
