"""The transport: keys, version, errors in the contract's shape, whatever happens."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from tests.realtime.runway.conftest import HEADERS
from tests.realtime.runway.doubles import StrictDoor
from worldstream.realtime.runway.app import runway_app
from worldstream.realtime.runway.asking import caller, keyless, scope_of
from worldstream.realtime.runway.errors import ApiError, invalid
from worldstream.realtime.services import Caller, Services


class Tone(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["tone"]
    hertz: int = Field(ge=20, le=20_000)


class Hush(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["hush"]
    hush: str = Field(min_length=1)


class Bell(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    sounds: list[Tone | Hush] = Field(max_length=2)


def add(app: FastAPI) -> None:
    @app.post("/bells")
    async def bells(body: Bell, who: Annotated[Caller, Depends(caller)]) -> dict[str, str]:
        return {"who": who.key}

    @app.get("/bells/{id}")
    async def bell(id: int, loud: bool = False) -> dict[str, int]:
        raise {1: ApiError(409, "It rings."), 2: invalid(["x", 0], "no")}.get(id, RuntimeError("secret"))

    @app.get("/open")
    @keyless
    async def anybody() -> dict[str, bool]:
        return {"ok": True}


@pytest.fixture
def app(services: Services) -> FastAPI:
    outer = FastAPI(openapi_url=None)
    outer.mount("/v1", runway_app(services, (add,)))
    return outer


async def test_a_key_and_the_version_are_demanded(client: httpx.AsyncClient, door: StrictDoor) -> None:
    good = {"sounds": [{"type": "tone", "hertz": 440.0}]}  # 440.0 is an integer in JSON
    assert (await client.post("/v1/bells", json=good)).status_code in (200, 400)
    client.headers.clear()
    for headers, status, said in [
        ({}, 401, "key"),
        ({"Authorization": "Bearer nobody"}, 401, "key"),
        ({"Authorization": "Basic key_one"}, 401, "key"),
        ({"Authorization": "Bearer key_one"}, 400, "X-Runway-Version is missing"),
        (HEADERS | {"X-Runway-Version": "2023-01-01"}, 400, "'2023-01-01'"),
        (HEADERS | {"Authorization": "bearer  key_one"}, 200, ""),
    ]:
        answer = await client.post("/v1/bells", json={"sounds": []}, headers=headers)
        assert answer.status_code == status, answer.text
        assert said in answer.json().get("error", "")
    assert (await client.get("/v1/open")).json() == {"ok": True}


async def test_a_bad_key_is_refused_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/bells", content=b"{", headers={"Authorization": "Bearer nobody"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/nowhere", 404, "There is nothing at /v1/nowhere."),
        ("GET", "/v1/bells/", 404, "There is nothing at /v1/bells/."),
        ("PUT", "/v1/bells", 405, "PUT is not possible here."),
        ("GET", "/v1/bells/1", 409, "It rings."),
        ("GET", "/v1/bells/2", 400, "Validation of body failed"),
        ("GET", "/v1/bells/one", 400, "Validation of path failed"),
        ("GET", "/v1/bells/1?loud=maybe", 400, "Validation of query failed"),
        ("GET", "/v1/bells/3", 500, "Something went wrong in this server; its log says what."),
    ],
)
async def test_errors_are_json_of_one_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, error: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == error
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "invalid_type", ["sounds"]),
        ({"sounds": []} | {"more": 1}, "unrecognized_keys", []),
        ({"sounds": 3}, "invalid_type", ["sounds"]),
        ({"sounds": [{"type": "tone", "hertz": 5}]}, "too_small", ["sounds", 0, "hertz"]),
        ({"sounds": [{"type": "tone", "hertz": 50_000}]}, "too_big", ["sounds", 0, "hertz"]),
        ({"sounds": [{"type": "tone", "hertz": True}]}, "invalid_type", ["sounds", 0, "hertz"]),
        ({"sounds": [{"type": "hush", "hush": ""}]}, "too_small", ["sounds", 0, "hush"]),
        ({"sounds": [{"type": "hush"}] * 3}, "too_big", ["sounds"]),
        ([], "invalid_type", []),
    ],
)
async def test_issues_are_those_of_zod(
    client: httpx.AsyncClient, body: object, code: str, path: list[str | int]
) -> None:
    answer = await client.post("/v1/bells", json=body)
    assert answer.status_code == 400
    assert {"code": code, "path": path} in [
        {"code": issue["code"], "path": issue["path"]} for issue in answer.json()["issues"]
    ], answer.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b'{"sounds": [NaN]}', "NaN"),
        (b'{"sounds": [{"type": "hush", "hush": "\\ud800"}]}', "surrogate"),
        (b'{"sounds": [{"type": "hush", "hush": "\\u0000"}]}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5_000, "not JSON"),
        (b"", "Validation"),
    ],
)
async def test_what_is_not_json_is_a_400(client: httpx.AsyncClient, content: bytes, said: str) -> None:
    answer = await client.post("/v1/bells", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert len(answer.content) < 1000


async def test_pairs_of_surrogates_and_large_bodies_pass(client: httpx.AsyncClient) -> None:
    content = b'{"sounds": [{"type": "hush", "hush": "\\ud83d\\ude00' + b"x" * 100_000 + b'"}]}'
    answer = await client.post("/v1/bells", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200


async def test_a_body_without_end_is_cut_off(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldstream.realtime.runway.asking.MAX_CONTRACT_BYTES", 1000)
    answer = await client.post("/v1/bells", content=b"x" * 1001, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["error"]


async def test_the_description_says_what_is_answered(client: httpx.AsyncClient) -> None:
    client.headers.clear()
    described = (await client.get("/v1/openapi.json")).json()
    assert described["servers"] == [{"url": "/v1"}]
    post = described["paths"]["/bells"]["post"]
    assert post["security"] == [{"key": []}]
    assert [p["name"] for p in post["parameters"]] == ["X-Runway-Version"]
    assert "422" not in post["responses"]
    assert "400" in post["responses"]
    assert "security" not in described["paths"]["/open"]["get"]


def test_scopes() -> None:
    assert scope_of("/text_to_video", "POST") == "generate"
    assert scope_of("/tasks/{id}", "GET") == "tasks"
    assert scope_of("/workflows/{id}", "POST") == "generate"
    assert scope_of("/workflows/{id}", "GET") == "library"
    assert scope_of("/organization/usage", "POST") == "organization"
