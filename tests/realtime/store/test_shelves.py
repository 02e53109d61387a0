"""Kept things in SQLite and in PostgreSQL: the same rows, pages, walls between owners and refusals."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from worldstream.realtime.store import library, routers, workflows
from worldstream.realtime.store.database import Database
from worldstream.realtime.store.library import Avatar, Document, RealtimeSession, Voice
from worldstream.realtime.store.routers import Router, RouterRequest
from worldstream.realtime.store.workflows import Invocation

ME, OTHER = str(UUID(int=1)), str(UUID(int=2))


def id_of(number: int) -> str:
    return str(UUID(int=number + 10))


@pytest.fixture
def kept(database: Database) -> Database:
    steps = [*library.MIGRATIONS, *routers.MIGRATIONS, *workflows.MIGRATIONS]
    assert len(database.migrate(steps)) == 3
    assert database.migrate(steps) == []
    return database


def test_pages_by_two_columns(kept: Database) -> None:
    moments = [1.1, 1.1, 1.1, 2.000000238418579, 1e9 + 0.123]
    documents = [Document(id_of(n), ME, at_s, 9.0 - n, f"{n}", "é🌊") for n, at_s in enumerate(moments)]

    def work(connection: Any) -> None:
        for document in documents:
            library.documents.put(connection, document)
        library.documents.put(connection, replace(documents[0], id=id_of(99), owner=OTHER))
        for by, descending in (("created_s", True), ("created_s", False), ("updated_s", True)):
            seen: list[Document] = []
            place = None
            while rows := library.documents.listed(connection, ME, 2, place, by, descending):
                seen += rows
                place = (getattr(rows[-1], by), rows[-1].id)
            assert seen == sorted(documents, key=lambda d: (getattr(d, by), d.id), reverse=descending)

    kept.now(work)


def test_everything_comes_back_as_it_was(kept: Database) -> None:
    avatar = Avatar(
        id_of(0), ME, 1.0, 2.0, "Ada", "x", None, {"type": "custom", "id": id_of(1)}, [id_of(2)], "r", "none", "READY"
    )
    voice = Voice(id_of(1), ME, 1.0, "Deep", None, {"type": "audio", "blob": "b"}, "PROCESSING", task=id_of(7))
    preset = {"type": "runway-preset", "presetId": "influencer", "name": "Influencer"}
    session = RealtimeSession(
        id_of(3), ME, 1.0, "READY", preset, "influencer", 300, None, "Hi", [{"a": [1]}], None, "room"
    )
    run = Invocation(id_of(4), ME, 1.0, id_of(5), "W", {"nodes": []}, {"v": 1.5}, {"n": {"state": "done"}})

    def work(connection: Any) -> None:
        for shelf, record in (
            (library.avatars, avatar),
            (library.voices, voice),
            (library.sessions, session),
            (workflows.invocations, run),
        ):
            shelf.put(connection, record)  # type: ignore[arg-type]
            assert shelf.get(connection, ME, record.id) == record
            for owner, id in ((OTHER, record.id), (ME, id_of(50)), ("", "é'\"")):
                with pytest.raises(KeyError):
                    shelf.get(connection, owner, id)
                with pytest.raises(KeyError):
                    shelf.change(connection, owner, id, created_s=5.0)
                with pytest.raises(KeyError):
                    shelf.remove(connection, owner, id)
            assert shelf.change(connection, ME, record.id, created_s=3.5).created_s == 3.5
        assert library.voice_of(connection, avatar) is not None
        assert list(library.users(connection, ME)) == [id_of(2)]
        assert [v.id for v in library.unfinished(connection)[1]] == [voice.id]
        assert [s.id for s in library.open_sessions(connection)] == [session.id]
        assert [s.id for s in library.talks(connection, ME, 9, avatar="influencer", from_s=3.5, until_s=3.5)] == [
            session.id
        ]
        assert library.talks(connection, ME, 9, avatar="other") == []
        assert [r.id for r in workflows.open_invocations(connection)] == [run.id]
        assert library.avatars.remove(connection, ME, avatar.id).name == "Ada"
        assert library.users(connection, ME) == {}

    kept.now(work)


async def test_nothing_comes_between_looking_and_changing(kept: Database) -> None:
    router = Router(id_of(0), ME, 1.0, 1.0, "films", "Films", None, {})
    kept.now(lambda c: routers.put(c, router))
    await asyncio.gather(*(kept.write(lambda c: routers.change(c, ME, router.id, 2.0, None)) for _ in range(12)))
    assert kept.now(lambda c: routers.routers.get(c, ME, router.id)).version == 13


def test_a_slug_is_an_owners_once(kept: Database) -> None:
    router = Router(id_of(0), ME, 1.0, 1.0, "films", "Films", None, {"optimizeFor": "cost"})
    kept.now(lambda c: routers.put(c, router))
    with pytest.raises(routers.Taken):
        kept.now(lambda c: routers.put(c, replace(router, id=id_of(1))))
    kept.now(lambda c: routers.put(c, replace(router, id=id_of(2), owner=OTHER)))
    for number in range(3):
        row = RouterRequest(id_of(10 + number), ME, float(number), router.id, {"status": "routed"})
        kept.now(lambda c, row=row: routers.log(c, row))  # type: ignore[misc]

    def work(connection: Any) -> None:
        assert routers.by_slug(connection, ME, "films").id == router.id
        after = routers.change(connection, ME, router.id, 2.0, {"optimizeFor": "latency"}, name="All")
        assert (after.version, after.name, after.settings["optimizeFor"]) == (2, "All", "latency")
        rows = routers.requests(connection, ME, router.id, 2)
        assert [row.created_s for row in rows] == [2.0, 1.0]
        routers.remove(connection, ME, router.id)
        assert routers.requests(connection, ME, router.id, 2) == []

    kept.now(work)
