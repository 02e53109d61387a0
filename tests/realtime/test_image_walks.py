"""Walks that began from a picture: gone back in, shared and brought along, on the real worker and the eager engine."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.realtime.doubles import Clock, RunningServer
from tests.realtime.fake_world import FakeWorld
from tests.realtime.test_images import picture as png
from tests.realtime.test_sharing import session_of, walking
from tests.realtime.test_walk import Bench, kept, replayed
from tests.realtime.test_websocket import visit
from tests.worlds.conftest import one_thread as one_thread
from tests.worlds.tiny_world import world as tiny_world
from worldstream.realtime.config import ServerConfig, TimelineConfig
from worldstream.realtime.images import StartImage
from worldstream.realtime.mailbox import Broke, GoToBranch, Noticed, Play, Renew, Rewind, Say, TakeOver, WorldReady
from worldstream.realtime.protocol import Hello, Notice, WorldChanged
from worldstream.worlds import action_log
from worldstream.worlds.core import Action, Sight
from worldstream.worlds.first_image import FirstImage
from worldstream.worlds.log_image import kept_image, to_text

SESSION = "a-picture-walk"


def start(seed: int = 0) -> StartImage:
    world = tiny_world()
    rgb = np.random.default_rng(seed).integers(0, 256, (world.height_px, world.width_px, 3), dtype=np.uint8)
    return StartImage(f"image-{seed}", rgb, FirstImage(rgb).sha256, Sight("forest", 0.9, 0.5), ("forest",), ())


def play(bench: Bench, image: StartImage | None, seed: int = 5) -> None:
    bench.submit(Play(1, seed, "forest", None, SESSION, image=image))


@pytest.fixture
def bench(clock: Clock, tmp_path: Path) -> Bench:
    return Bench(clock, tmp_path / "sessions")


def codes(bench: Bench) -> list[str]:
    return [event.code for event in bench.of(Noticed) if isinstance(event, Noticed)]


def test_a_live_walk_from_a_picture_replays_bit_for_bit(bench: Bench) -> None:
    image = start()
    play(bench, image)
    bench.walk(9, "forward", yaw=0.2)
    bench.submit(Say("desert"))
    bench.walk(9, "left", yaw=0.4)
    bench.draw_s = 0.06  # the ladder goes down
    bench.walk(20, "back")
    assert bench._world.steps == 1
    content = bench.log()
    log = action_log.parse(content, "x")
    assert log.header.image_sha256 == image.sha256
    found = kept_image(log.header, tiny_world())
    assert found is not None
    np.testing.assert_array_equal(found.rgb, image.rgb)
    assert replayed(content) == bench.shown

    words = Bench(Clock(), Path("unused"))
    play(words, None)
    assert words.walk(9, "forward", yaw=0.2)[0] != bench.shown[0], "from words it is another world"


@pytest.mark.parametrize("snapshots", [True, False], ids=["snapshots", "only a reset leads there"])
def test_every_moment_of_it_can_be_gone_back_to(clock: Clock, tmp_path: Path, snapshots: bool) -> None:
    bench = Bench(clock, tmp_path)
    if not snapshots:
        bench._walk._config = TimelineConfig(snapshot_bytes=0)
    play(bench, start())
    first = bench.walk(24, "forward")
    for moment in (23, 11, 2, 1, 0, 0):
        bench.submit(Rewind(moment))
        assert bench.run(24 - moment) == first[moment:], moment
        assert replayed(bench.log()) == first
    assert not bench.of(Broke)


def test_another_way_from_its_beginning_and_back_to_what_was_left(bench: Bench) -> None:
    play(bench, start())
    first = bench.walk(15, "forward")
    bench.submit(Rewind(0))
    second = bench.walk(12, "turn_left")
    assert second[0] == first[0], "the picture itself"
    assert second[1:] != first[1:12]
    assert replayed(bench.log()) == second
    (branch,) = bench.told().branches
    assert (branch.start, branch.end) == (0, 15)
    bench.submit(GoToBranch(branch.id))
    third = bench.walk(5, "right")
    assert replayed(bench.log()) == first + third


def shared(tmp_path: Path, seed: int = 1) -> tuple[list[str], bytes]:
    """Somebody else's walk: its frames and its log."""
    other = Bench(Clock(), tmp_path / "other")
    play(other, start(seed), seed=9)
    other.walk(10, "forward", yaw=0.3)
    other.submit(Say("snow"))
    other.walk(15, "right", yaw=0.3)
    return other.shown, other.log()


def test_a_shared_one_is_drawn_again_taken_over_and_shared_again(bench: Bench, tmp_path: Path) -> None:
    seen, content = shared(tmp_path)
    bench.play(replay=kept(bench, content))
    assert bench.run(12) == seen[:12]
    bench.submit(TakeOver())
    mine = bench.walk(8, "back")
    assert codes(bench) == []
    log = bench.log()
    assert replayed(log) == seen[:12] + mine
    assert action_log.parse(log, "x").header.image_sha256 == start(1).sha256
    bench.submit(Rewind(0))
    assert bench.run(1) == seen[:1], "its beginning is still the picture"
    worlds = [event for event in bench.of(WorldReady) if isinstance(event, WorldReady)]
    assert {(event.seed, event.image) for event in worlds} == {(9, None)}, "the id of a picture is the server's own"


def test_a_reset_after_it_begins_without_the_picture(bench: Bench) -> None:
    play(bench, start())
    bench.walk(6, "forward")
    bench.submit(Renew(5, "forest"))
    fresh = bench.walk(6, "forward")
    log = bench.log()
    assert action_log.parse(log, "x").header.image_png is None
    assert replayed(log) == fresh


def header_with(content: bytes, **changes: object) -> bytes:
    first, rest = content.split(b"\n", 1)
    return json.dumps({**json.loads(first), **changes}).encode() + b"\n" + rest


BOMB = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4) * 2 + bytes(60)).decode()
DAMAGED = [
    ({"image_png": "%%%"}, "not written in base 64"),
    ({"image_png": "ä"}, "not written in base 64"),
    ({"image_png": BOMB}, "3600 million"),
    ({"image_png": "A" * 1_000_000}, "takes 1000000 characters"),
    ({"image_sha256": "0" * 64}, "not the one that its header names"),
    ({"image_png": None}, "that is not in it"),
]


@pytest.mark.parametrize(("changes", "said"), DAMAGED, ids=[said for _, said in DAMAGED])
def test_a_picture_that_cannot_be_used_is_said_and_a_fresh_world_begins(
    bench: Bench, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    _, content = shared(tmp_path)
    bench.play(5, "forest", replay=kept(bench, header_with(content, **changes)))
    shown = bench.run(3)
    (noticed,) = bench.of(Noticed)
    assert isinstance(noticed, Noticed)
    assert noticed.code == "replay_refused"
    assert said in noticed.message
    assert "A fresh world of the same seed and words begins instead." in noticed.message
    assert not bench.of(Broke)
    fresh = Bench(Clock(), tmp_path / "fresh")
    fresh.play(5, "forest")
    assert fresh.run(3) == shown


# -- over HTTP --------------------------------------------------------------------------------------------------------


def log_from(seed: int = 12) -> bytes:
    """A log of the fake world, begun from a picture of its size."""
    world = FakeWorld()
    rgb = np.random.default_rng(seed).integers(0, 256, (world.height_px, world.width_px, 3), dtype=np.uint8)
    header = action_log.LogHeader(
        world.name, world.sha256, world.engine, world.steps, world.fps, seed, "desert",
        image_sha256=FirstImage(rgb).sha256, image_png=to_text(rgb),
    )  # fmt: skip
    line = action_log.encoded(Action(forward_m=0.1))
    return "\n".join([action_log.encoded_header(header, 1), *[line] * 30, ""]).encode()


async def test_such_a_log_can_be_brought_and_shared_on(server: RunningServer) -> None:
    content = log_from()
    async with httpx.AsyncClient(base_url=server.http) as http:
        answer = await http.post("/api/sessions", content=content)
        assert answer.status_code == 201, answer.text
        brought = answer.json()
        assert brought["frames"] == 30
        async with visit(server, Hello(seed=1, prompt="", replay=brought["id"])) as visitor:
            await visitor.until(lambda v: isinstance(n := v.last(Notice), Notice) and n.code == "replay_ended")
            world = visitor.last(WorldChanged)
            assert isinstance(world, WorldChanged)
            assert (world.seed, world.prompt, world.image) == (12, "desert", None)
            again = (await http.post(f"/api/sessions/{session_of(visitor)}/share")).json()
        header, _, _ = content.partition(b"\n")
        theirs = (await http.get(f"/api/sessions/{again['id']}/log")).content.partition(b"\n")[0]
        for name in ("image_png", "image_sha256", "seed", "prompt"):
            assert json.loads(theirs)[name] == json.loads(header)[name]


async def test_a_live_walk_from_an_upload_is_shared_with_its_picture(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.http, timeout=30.0) as http:
        image = (await http.post("/api/image", content=png((10, 200, 10)))).json()["image"]
        async with visit(server, Hello(seed=4, prompt="", image=image)) as visitor:
            await walking(visitor)
            shared_id = (await http.post(f"/api/sessions/{session_of(visitor)}/share")).json()["id"]
        log = action_log.parse((await http.get(f"/api/sessions/{shared_id}/log")).content, "x")
    assert log.header.prompt == "forest"
    found = kept_image(log.header, FakeWorld())
    assert found is not None
    assert (found.rgb == (10, 200, 10)).all()


@pytest.mark.parametrize(("changes", "said"), DAMAGED, ids=[said for _, said in DAMAGED])
async def test_a_log_whose_picture_cannot_be_used_is_refused_in_words(
    server: RunningServer, config: ServerConfig, changes: dict[str, object], said: str
) -> None:
    async with (
        visit(server, Hello(seed=3, prompt="desert")) as visitor,
        httpx.AsyncClient(base_url=server.http) as http,
    ):
        await visitor.until(lambda v: v.pictures)
        answer = await http.post("/api/sessions", content=header_with(log_from(), **changes))
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "bad_log"
        assert said in error["message"]
        assert error["remedy"]
        assert not list(config.data.rglob("*.jsonl")), "nothing of it is kept"
        count = len(visitor.pictures)
        await visitor.until(lambda v: len(v.pictures) > count)  # nobody else is disturbed
