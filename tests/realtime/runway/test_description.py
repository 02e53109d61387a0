"""The server against its own OpenAPI description: requests made up by schemathesis, good and bad, always the same ones.

Nothing that is sent may break the server, and every answer is one that the description names.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.realtime.runway.conftest import HEADERS
from tests.realtime.runway.doubles import MemoryBoard, StrictDoor
from tests.realtime.runway.library_doubles import BelievedAssets
from tests.realtime.runway.routes import ROUTES
from worldstream.realtime.blobs import FolderBlobs
from worldstream.realtime.offline import migrations
from worldstream.realtime.runway.app import runway_app
from worldstream.realtime.services import Services
from worldstream.realtime.store.database import Database

DESCRIBED = [route for route in ROUTES if not route.endswith("/consume")]  # which other programs ask, without a key
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(autouse=True)
def no_stray_threads() -> None:
    """Of the database, which all tests here share."""


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "scratch").mkdir()
    database = Database(folder / "test.db")
    database.migrate(migrations())
    blobs = FolderBlobs(folder / "blobs")
    board, assets = MemoryBoard(blobs, folder / "scratch"), BelievedAssets(blobs, folder / "scratch")
    door = StrictDoor(keys={"key_one": str(UUID(int=1))})
    services = Services(database, board, assets, blobs, door, folder, time.time, signing_secret=b"s" * 32)
    app = FastAPI(openapi_url=None)
    app.mount("/v1", runway_app(services))
    yield schemathesis.openapi.from_asgi("/v1/openapi.json", app, config=SchemathesisConfig())
    database.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=["good", "bad"])
@pytest.mark.parametrize("route", DESCRIBED)
def test_every_answer_is_described(contract: schemathesis.BaseSchema, route: str, mode: GenerationMode) -> None:
    method, path = route.split()
    names = {re.sub(r"\{\w+\}", "{id}", name): name for name in contract}
    operation = contract[names[path.removeprefix("/v1")]][method]
    if mode == GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        return  # there is nothing that could be wrong

    @settings(
        max_examples=2 if mode == GenerationMode.POSITIVE else 1,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=HEADERS, checks=CHECKS)

    ask()


def test_the_whole_api_was_described(contract: schemathesis.BaseSchema) -> None:
    assert len(list(contract.get_all_operations())) >= 67
