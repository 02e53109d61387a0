"""Every operation of the hosted API is there, and nothing is described that is not."""

from __future__ import annotations

import asyncio
import re

import httpx
from fastapi import FastAPI

from tests.realtime.runway.routes import ROUTES
from worldstream.realtime.offline import migrations
from worldstream.realtime.services import Services


def test_there_are_sixty_nine_operations() -> None:
    assert len(set(ROUTES)) == len(ROUTES) == 69


def offered(bare: FastAPI) -> set[str]:
    found = set()
    for route in bare.routes:
        path = re.sub(r"\{\w+\}", "{id}", getattr(route, "path", ""))
        found |= {f"{method} /v1{path}" for method in getattr(route, "methods", None) or ()}
    return found


async def test_all_are_offered(bare: FastAPI) -> None:
    assert set(ROUTES) - offered(bare) == set()


async def test_none_is_a_bare_404(services: Services, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(services.database.migrate, migrations())
    for route in ROUTES:
        method, path = route.split()
        answer = await client.request(method, path.replace("{id}", "00000000-0000-4000-8000-00000000dead"))
        assert answer.status_code not in (405, 500), (route, answer.text)
        assert not answer.json().get("error", "").startswith("There is nothing at"), route
