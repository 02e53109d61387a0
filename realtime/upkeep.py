"""What goes on by itself beside the tasks: avatars and voices settle, realtime sessions age, workflows take their next
step. The server runs one of these."""

from __future__ import annotations

import asyncio
import logging

from .keeping import Keeper
from .runway.models import Catalogue
from .runway.pricing import named, price
from .runway.rooms import new_key
from .services import Services
from .talks import NoRooms, Rooms, Talks
from .workflows.runner import Runner

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Upkeep:
    """`tick` does all of it once; `run` does so until it is cancelled."""

    def __init__(self, services: Services, catalogue: Catalogue, rooms: Rooms | None = None) -> None:
        self.keeper = Keeper(services)
        self.talks = Talks(services, rooms or NoRooms(), new_key)
        self.runner = Runner(services, lambda node, params: (named(node), price(catalogue, node, params)))

    async def tick(self) -> None:
        """Whatever fails in one of them is in the log, and tried again by the next tick."""
        for part in (self.keeper.tick, self.talks.tick, self.runner.tick):
            try:
                await part()
            except Exception:
                log.exception("upkeep: %s", part.__qualname__)

    async def run(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(EVERY_S)
