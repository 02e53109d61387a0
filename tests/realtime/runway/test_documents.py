"""Documents: shapes, traps of the contract, the budget of knowledge, pages, and one owner's walls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.realtime.runway.library_doubles import PICTURE, House, house
from worldstream.realtime.runway.bodies import is_uuid
from worldstream.realtime.runway.errors import ApiError
from worldstream.realtime.runway.lists import after, moment
from worldstream.realtime.runway.pages import cursor_of

NOBODY = "3f2a8f2e-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as found:
        yield found


async def test_a_document_from_its_making_to_its_end(home: House) -> None:
    client = home.client()
    made = await client.post("/documents", json={"name": "Menu", "content": "Soup, bread."})
    assert made.status_code == 200
    body = made.json()
    assert is_uuid(body["id"])
    moments = {"createdAt": "2025-11-21T12:00:00.000Z", "updatedAt": "2025-11-21T12:00:00.000Z"}
    expected = {"name": "Menu", "type": "text", "usedBy": [], "content": "Soup, bread.", **moments}
    assert body == {"id": body["id"], **expected}

    home.time[0] += 60
    changed = await client.patch(f"/documents/{body['id']}", json={"content": "Soup."})
    assert (changed.status_code, changed.content) == (204, b"")
    read = (await client.get(f"/documents/{body['id']}")).json()
    assert (read["name"], read["content"], read["updatedAt"]) == ("Menu", "Soup.", "2025-11-21T12:01:00.000Z")
    listed = (await client.get("/documents", params={"limit": 10, "sort": "createdAt", "order": "asc"})).json()
    assert listed["data"] == [{key: value for key, value in read.items() if key != "content"}]
    assert listed["hasMore"] is False
    assert listed["nextCursor"] is None

    assert (await client.delete(f"/documents/{body['id']}")).status_code == 204
    assert (await client.get(f"/documents/{body['id']}")).status_code == 404
    assert (await client.delete(f"/documents/{body['id']}")).status_code == 404


BAD: tuple[tuple[dict[str, object], str, list[str]], ...] = (
    ({"name": "x"}, "invalid_type", ["content"]),
    ({"name": "", "content": "x"}, "too_small", ["name"]),
    ({"name": "x" * 256, "content": "x"}, "too_big", ["name"]),
    ({"name": "x", "content": "x" * 200_001}, "too_big", ["content"]),
    ({"name": "x", "content": 5}, "invalid_type", ["content"]),
    ({"name": "x", "content": "x", "contents": "x"}, "unrecognized_keys", []),
)


async def test_bad_bodies(home: House) -> None:
    client = home.client()
    for body, code, path in BAD:
        answer = await client.post("/documents", json=body)
        assert answer.status_code == 400
        assert [(i["code"], i["path"]) for i in answer.json()["issues"]] == [(code, path)]


async def test_one_owner_never_sees_anothers(home: House) -> None:
    mine, others = home.client(), home.client("key_two")
    id = (await mine.post("/documents", json={"name": "Secret", "content": "x"})).json()["id"]
    for answer in (
        await others.get(f"/documents/{id}"),
        await others.patch(f"/documents/{id}", json={"name": "Stolen"}),
        await others.delete(f"/documents/{id}"),
    ):
        assert answer.status_code == 404
        assert answer.json() == {"error": "A document with this id was not found."}
    assert (await others.get("/documents")).json()["data"] == []
    assert (await mine.get(f"/documents/{id}")).json()["name"] == "Secret"


async def test_ids_that_are_none(home: House) -> None:
    for id in (NOBODY, "x", "%00", "..%2f", "é"):
        assert (await home.client().get(f"/documents/{id}")).status_code == 404


async def test_pages_show_everything_once_and_in_order(home: House) -> None:
    client = home.client()
    for index in range(7):
        home.time[0] += index % 3  # some in the same instant
        await client.post("/documents", json={"name": f"{index}", "content": "x"})
    for sort, order in (("createdAt", "asc"), ("createdAt", "desc"), ("updatedAt", "desc")):
        for limit in (1, 3, 100):
            query, seen = {"limit": str(limit), "sort": sort, "order": order}, list[tuple[str, str]]()
            while True:
                found = (await client.get("/documents", params=query)).json()
                seen += [(d[sort], d["id"]) for d in found["data"]]
                assert found["hasMore"] is (found["nextCursor"] is not None)
                if not found["hasMore"]:
                    break
                query["cursor"] = found["nextCursor"]
            assert len(set(seen)) == 7
            assert seen == sorted(seen, reverse=order == "desc")


async def test_what_an_avatar_knows_has_a_budget(home: House) -> None:
    client = home.client()
    long = (await client.post("/documents", json={"name": "Long", "content": "x" * 199_996})).json()["id"]
    short = (await client.post("/documents", json={"name": "Short", "content": "abcd"})).json()["id"]
    voice = {"type": "runway-live-preset", "presetId": "maya"}
    about = {"name": "Ada", "referenceImage": PICTURE, "personality": "Curious.", "voice": voice}
    avatar = (await client.post("/avatars", json={**about, "documentIds": [long, short, long]})).json()
    assert avatar["documentIds"] == [long, short]

    used = (await client.get(f"/documents/{short}")).json()["usedBy"]
    assert [(u["id"], u["name"]) for u in used] == [(avatar["id"], "Ada")]
    assert used[0]["imageUrl"].startswith("http://worldstream.test/")
    answer = await client.patch(f"/documents/{short}", json={"content": "abcde"})
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["path"] == ["content"]
    assert (await client.get(f"/documents/{short}")).json()["content"] == "abcd"
    too_much = await client.post("/documents", json={"name": "More", "content": "x"})
    answer = await client.post("/avatars", json={**about, "documentIds": [long, short, too_much.json()["id"]]})
    assert answer.json()["issues"][0] == {
        "code": "too_big",
        "path": ["documentIds"],
        "message": "An avatar can know 50000 tokens; its documents would come to about 50001.",
    }

    assert (await client.delete(f"/documents/{long}")).status_code == 204
    assert (await client.get(f"/avatars/{avatar['id']}")).json()["documentIds"] == [short]


@given(st.text(min_size=1, max_size=60) | st.floats(allow_nan=True).map(lambda x: cursor_of(x, NOBODY)))
@settings(max_examples=200)
def test_any_cursor_is_a_place_or_refused(cursor: str) -> None:
    said: tuple[str | int, ...] = ()
    try:
        place = after(cursor)
    except ApiError as error:
        said = error.issues[0].path
        place = None
    assert after(cursor_of(*place)) == place if place else said == ("cursor",)


@given(st.floats(min_value=0, max_value=1e11), st.uuids(version=4).map(str))
def test_a_cursor_comes_back_exactly(seconds: float, id: str) -> None:
    assert after(cursor_of(seconds, id)) == (seconds, id)


def test_hostile_cursors() -> None:
    for key in (("x", NOBODY), (1.0,), (1.0, "x"), (10**400, NOBODY), (float("inf"), NOBODY), (True, NOBODY)):
        with pytest.raises(ApiError):
            after(cursor_of(*key))
    with pytest.raises(ApiError):
        after("W" * 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10.500000+01:00", 10.5),
        ("1970-01-01T01:00:10 01:00", 10.0),  # a + that nobody escaped
        ("1970-01-01T00:00:10", 10.0),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert moment(text, "startDate") == seconds


def test_a_moment_that_is_none_names_its_field() -> None:
    with pytest.raises(ApiError) as caught:
        moment("yesterday ", "startDate")
    assert caught.value.issues[0].path == ("startDate",)
    assert moment("1970-01-01", "endDate", ends_day=True) == 86_399.999
