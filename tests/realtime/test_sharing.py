"""Logs over HTTP, end to end: a real uvicorn, real visitors, files on disk."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.realtime.doubles import RunningServer
from tests.realtime.test_websocket import HELLO, Visitor, visit
from worldstream.realtime import sharing
from worldstream.realtime.config import ServerConfig
from worldstream.realtime.protocol import (
    Bye,
    ErrorMessage,
    GoToBranch,
    Hello,
    Input,
    Notice,
    Reset,
    Rewind,
    TakeOver,
    Timeline,
    Welcome,
    WorldChanged,
)
from worldstream.realtime.replay import accepted
from worldstream.realtime.sharing import MAX_LOG_BYTES
from worldstream.worlds import action_log
from worldstream.worlds.action_log import LogHeader
from worldstream.worlds.core import Action

HEADER = LogHeader("fake", "f" * 64, "none", 2, 24.0, 12, "desert")


def session_of(visitor: Visitor) -> str:
    welcome = visitor.last(Welcome)
    assert isinstance(welcome, Welcome)
    return welcome.session


def timeline_of(visitor: Visitor) -> Timeline:
    timeline = visitor.last(Timeline)
    assert isinstance(timeline, Timeline)
    return timeline


async def walking(visitor: Visitor, frames: int = 24) -> None:
    """Let the walk become that long."""
    await visitor.until(lambda v: v.pictures)
    await visitor.say(Input(seq=1, keys=frozenset({"forward"})))
    await visitor.until(lambda v: isinstance(last := v.last(Timeline), Timeline) and last.now >= frames)


def content(actions: int = 50, **changes: object) -> bytes:
    header = replace(HEADER, **changes)  # type: ignore[arg-type]
    lines = [action_log.encoded_header(header, 1), *[action_log.encoded(Action(forward_m=0.1))] * actions]
    return ("\n".join(lines) + "\n").encode()


async def test_a_live_log_is_what_was_walked_so_far(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor, httpx.AsyncClient(base_url=server.http) as http:
        await walking(visitor)
        answer = await http.get(f"/api/sessions/{session_of(visitor)}/log")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        assert f"walk-{session_of(visitor)}.jsonl" in answer.headers["content-disposition"]
        log = action_log.parse(answer.content, "x")
        assert (log.header.seed, log.header.prompt, log.header.sha256) == (3, HELLO.prompt, "f" * 64)
        assert len(log.actions) >= 24
        assert log.actions[-1].forward_m > 0
        await visitor.say(Rewind(frame=5))
        await visitor.until(lambda v: timeline_of(v).branches)
        shorter = action_log.parse((await http.get(f"/api/sessions/{session_of(visitor)}/log")).content, "x")
        assert shorter.actions[:5] == log.actions[:5]


async def test_a_log_outlives_its_session_and_then_another_walk_shows_it(
    server: RunningServer, config: ServerConfig
) -> None:
    async with visit(server, HELLO) as visitor:
        await walking(visitor)
        session = session_of(visitor)
        await visitor.say(Bye())
        assert await visitor.close_code() == 1000
    kept = config.data / "sessions" / f"{session}.jsonl"
    async with asyncio.timeout(10):
        while not kept.exists():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)
    frames = len(action_log.read(kept).actions)
    async with httpx.AsyncClient(base_url=server.http) as http:
        assert (await http.get(f"/api/sessions/{session}/log")).content == kept.read_bytes()
    async with visit(server, Hello(seed=1, prompt="forest", replay=session)) as later:
        await later.until(lambda v: isinstance(last := v.last(Timeline), Timeline) and last.now > 0)
        assert timeline_of(later).replay == frames
        world = later.last(WorldChanged)
        assert isinstance(world, WorldChanged)
        assert (world.seed, world.prompt) == (3, HELLO.prompt)
        await later.say(TakeOver())
        await later.until(lambda v: timeline_of(v).replay is None)


async def test_a_shared_walk_stays_as_it_was_shared(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor, httpx.AsyncClient(base_url=server.http) as http:
        await walking(visitor)
        answer = await http.post(f"/api/sessions/{session_of(visitor)}/share")
        assert answer.status_code == 201
        shared = answer.json()
        assert shared["days"] == 7
        before = (await http.get(f"/api/sessions/{shared['id']}/log")).content
        await visitor.say(Reset(seed=8, prompt="desert"))
        await visitor.until(lambda v: getattr(v.last(WorldChanged), "seed", None) == 8)
        await walking(visitor)
        assert (await http.get(f"/api/sessions/{shared['id']}/log")).content == before
        now = action_log.parse((await http.get(f"/api/sessions/{session_of(visitor)}/log")).content, "x")
        assert now.header.seed == 8, "the log of a session is of its world since the last reset"


async def test_an_expired_link_begins_fresh_and_says_so(server: RunningServer) -> None:
    async with visit(server, Hello(seed=6, prompt="desert", replay="long-gone")) as visitor:
        await visitor.until(lambda v: v.pictures and v.last(Notice))
        notice = visitor.last(Notice)
        assert isinstance(notice, Notice)
        assert notice.code == "replay_missing"
        assert visitor.last(WorldChanged) == WorldChanged(6, "desert", ("desert",), ())


async def test_a_log_can_be_brought_and_is_drawn_again(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.http) as http:
        answer = await http.post("/api/sessions", content=content(30))
        assert answer.status_code == 201
        brought = answer.json()
        assert {key: brought[key] for key in ("seed", "prompt", "frames", "notes")} == {
            "seed": 12,
            "prompt": "desert",
            "frames": 30,
            "notes": [],
        }
        cut = (await http.post("/api/sessions", content=content(30)[:-5])).json()
        assert cut["frames"] == 29
        assert "ends within line 31" in cut["notes"][0]
    async with visit(server, Hello(seed=1, prompt="", replay=brought["id"])) as visitor:
        await visitor.until(lambda v: isinstance(n := v.last(Notice), Notice) and n.code == "replay_ended")
        world = visitor.last(WorldChanged)
        assert isinstance(world, WorldChanged)
        assert (world.seed, world.prompt) == (12, "desert")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "first line is not a header"),
        (bytes(range(256)), 400, "it is not text"),
        (b"[1, 2, 3]\n", 400, "first line is not a header"),
        (content(0), 400, "has no frames"),
        (content().replace(b'"version": 1', b'"version": 9'), 400, "version 9"),
        (content(seed=2**31), 400, f"seed is {2**31}"),
        (content(prompt="x" * 501), 400, "prompt of 501 characters"),
        (content(prompt="\ud800"), 400, "not valid Unicode"),
        (content() + b"[1, 2]\n" + b"[0, 0, 0, 0, 0]\n", 400, "line 52"),
        (content() + b"[1e999, 0, 0, 0, 0]\n", 400, "finite"),
        (content() + b"[" * 100_000 + b"\n", 400, "line 52"),
        (b"x" * (MAX_LOG_BYTES + 1), 413, str(MAX_LOG_BYTES)),
    ],
)
async def test_what_is_no_walk_is_refused_in_words(server: RunningServer, body: bytes, status: int, said: str) -> None:
    async with visit(server, HELLO) as visitor, httpx.AsyncClient(base_url=server.http) as http:
        await visitor.until(lambda v: v.pictures)
        answer = await http.post("/api/sessions", content=body)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert said in error["message"]
        assert error["remedy"]
        count = len(visitor.pictures)
        await visitor.until(lambda v: len(v.pictures) > count)  # nobody else is disturbed


async def test_pages_of_other_sites_get_nothing(server: RunningServer) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    async with httpx.AsyncClient(base_url=server.http, headers=foreign) as http:
        assert (await http.post("/api/sessions", content=content())).status_code == 403
        assert (await http.get("/api/sessions/some-session/log")).status_code == 403
        assert (await http.post("/api/sessions/some-session/share", content=b"")).status_code == 403
    async with httpx.AsyncClient(base_url=server.http) as http:
        for id in ("unknown-session", "..%2F..%2Fetc", "x" * 2000):
            answer = await http.get(f"/api/sessions/{id}/log")
            assert answer.status_code == 404
            assert (await http.post(f"/api/sessions/{id}/share", content=b"")).status_code == 404


async def test_a_viewer_cannot_move_the_players_world(server: RunningServer) -> None:
    async with visit(server, HELLO) as player, visit(server, replace(HELLO, watch=True)) as viewer:
        await walking(player)
        for message in (Rewind(frame=0), GoToBranch(id=0), TakeOver()):
            await viewer.say(message)
        await viewer.until(lambda v: sum(isinstance(m, ErrorMessage) for m in v.messages) == 3)
        errors = [message for message in viewer.messages if isinstance(message, ErrorMessage)]
        assert {(error.code, error.fatal) for error in errors} == {("not_player", False)}
        assert not viewer.last(Timeline)
        await player.say(Rewind(frame=2**32 - 1))
        await player.until(lambda v: v.last(ErrorMessage))
        error = player.last(ErrorMessage)
        assert isinstance(error, ErrorMessage)
        assert (error.code, error.fatal) == ("no_such_moment", False)
        assert "4294967295 is not one of them" in error.message


async def test_a_log_is_read_off_the_event_loop_and_in_slices(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By threads and counts rather than by the clock: a busy machine is slow, not wrong."""
    seen: list[tuple[int, int]] = []

    def watched(content: bytes, breathe: Callable[[], None]) -> object:
        breaths = 0

        def counted() -> None:
            nonlocal breaths
            breaths += 1
            breathe()

        result = accepted(content, counted)
        seen.append((threading.get_ident(), breaths))
        return result

    monkeypatch.setattr(sharing, "accepted", watched)
    async with httpx.AsyncClient(base_url=server.http, timeout=60.0) as http:
        answer = await http.post("/api/sessions", content=content(5000))
    assert answer.json()["frames"] == 5000
    ((thread, breaths),) = seen
    assert thread != threading.get_ident()
    assert breaths == 25


async def test_a_disk_that_is_full_ends_no_session(
    server: RunningServer, config: ServerConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async with visit(server, HELLO) as visitor, httpx.AsyncClient(base_url=server.http) as http:
        await walking(visitor)
        monkeypatch.setattr(Path, "write_bytes", full)
        answer = await http.post(f"/api/sessions/{session_of(visitor)}/share")
        assert answer.status_code == 500
        assert "No space left on device" in answer.json()["error"]["message"]
        count = len(visitor.pictures)
        await visitor.until(lambda v: len(v.pictures) > count + 3)
    assert json.loads(json.dumps(caplog.text)).count("Traceback") == 0
