"""Pictures that worlds start from: what is kept and for how long, what is refused, and what a session hears of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.realtime.doubles import Clock, FakeLink, RunningServer
from tests.realtime.fake_world import FakeViewer, FakeWorld
from tests.realtime.test_lobby import VIDEO
from tests.realtime.test_worker import SMALL, Bench
from worldstream.realtime import mailbox
from worldstream.realtime.config import ImageConfig, SessionConfig
from worldstream.realtime.conversation import receive
from worldstream.realtime.errors import BadImage, ImagesBusy, ImageTooLarge
from worldstream.realtime.images import Images, ImageStore, StartImage
from worldstream.realtime.lobby import Lobby
from worldstream.realtime.mailbox import Command, WorldReady
from worldstream.realtime.metrics import Metrics
from worldstream.realtime.protocol import MAX_IMAGE_BYTES, Hello, Notice, Reset, WorldChanged, encode
from worldstream.realtime.serve import world_info
from worldstream.worlds.core import Sight
from worldstream.worlds.first_image import MAX_BYTES

WORLD = FakeWorld()


def picture(
    colour: tuple[int, int, int] = (10, 200, 10), size: tuple[int, int] = (320, 192), kind: str = "PNG"
) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def kept(name: str, pixels: int = 10, caption: str = "forest") -> StartImage:
    rgb = np.zeros((pixels, 1, 3), np.uint8)
    return StartImage(name, rgb, "0" * 64, Sight(caption, 0.9, 0.5), (caption,), ())


async def chunked(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_both_sides_agree_on_the_largest_file() -> None:
    assert MAX_IMAGE_BYTES == MAX_BYTES


def test_the_newest_pictures_are_kept(clock: Clock) -> None:
    store = ImageStore(ImageConfig(max_kept=3, max_kept_bytes=100), clock)
    for name in "abcd":
        store.add(kept(name, 1))
    assert [store.find(name) is not None for name in "abcd"] == [False, True, True, True]
    store.add(kept("large", 30))  # 90 bytes: 3 + 3 + 90 fit, a fourth would not be allowed anyway
    assert [store.find(name) is not None for name in ("b", "c", "d", "large")] == [False, True, True, True]
    store.add(kept("larger", 40))  # alone more than the budget: itself is kept
    assert store.find("larger") is not None
    assert len(store) == 1


def test_pictures_grow_old(clock: Clock) -> None:
    store = ImageStore(ImageConfig(keep_s=60.0), clock)
    store.add(kept("a"))
    clock.advance(50.0)
    store.add(kept("b"))
    assert store.find("a") is not None
    clock.advance(20.0)
    assert store.find("a") is None
    assert store.find("b") is not None
    assert len(store) == 1


@pytest.fixture
def images(clock: Clock) -> Images:
    return Images(WORLD, ImageConfig(upload_timeout_s=0.3), clock)


async def test_an_upload_is_read_looked_at_and_kept(images: Images) -> None:
    made = await images.receive(chunked(picture()))
    images.stop()
    assert images.find(made.id) is made
    assert made.rgb.shape == (192, 320, 3)
    assert (made.rgb == (10, 200, 10)).all()
    answer = made.as_dict()
    assert answer == {
        "image": made.id, "caption": "forest", "confidence": 0.75, "understood": ["forest"], "familiar": True,
        "distance": pytest.approx(0.39, abs=0.01), "notes": [],
    }  # fmt: skip
    assert len(made.sha256) == 64


async def test_a_strange_picture_is_said_to_be_strange(images: Images) -> None:
    made = await images.receive(chunked(picture((0, 0, 255))))
    images.stop()
    assert made.as_dict()["familiar"] is False
    assert made.as_dict()["distance"] > 1.0


async def test_reading_stops_at_the_limit(images: Images) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 2**20
            yield bytes(2**20)

    with pytest.raises(ImageTooLarge, match="24 MiB"):
        await images.receive(endless())
    images.stop()
    assert taken <= MAX_BYTES + 2**20
    assert len(images) == 0


async def test_a_slow_upload_is_ended(images: Images) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"\x89PNG"
        await asyncio.sleep(30.0)

    with pytest.raises(BadImage, match=r"within 0\.3 s"):
        await images.receive(slow())
    images.stop()


async def test_only_a_few_arrive_at_once(clock: Clock) -> None:
    images = Images(WORLD, ImageConfig(max_uploads=2), clock)
    gate = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        await gate.wait()
        yield picture()

    first = [asyncio.create_task(images.receive(waiting())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ImagesBusy, match="2 pictures"):
        await images.receive(chunked(picture()))
    gate.set()
    made = await asyncio.gather(*first)
    assert len({image.id for image in made}) == 2
    assert (await images.receive(chunked(picture()))).id  # there is room again
    images.stop()
    with pytest.raises(ImagesBusy):
        await images.receive(chunked(picture()))


class BlindWorld(FakeWorld):
    def viewer(self) -> FakeViewer:
        raise ValueError("the judge is missing")


async def test_a_world_that_cannot_look_says_so(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    images = Images(BlindWorld(), ImageConfig(), clock)
    with pytest.raises(ImagesBusy) as refusal:
        await images.receive(chunked(picture()))
    images.stop()
    assert refusal.value.id in caplog.text
    assert "the judge is missing" in caplog.text


# -- over HTTP --------------------------------------------------------------------------------------------------------


async def post(server: RunningServer, body: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http, timeout=30.0) as client:
        return await client.post("/api/image", content=body, headers=headers)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_posting_a_picture(server: RunningServer, kind: str) -> None:
    answer = await post(server, picture(kind=kind, size=(640, 100)))
    assert answer.status_code == 200
    said = answer.json()
    assert said["caption"] == "forest"
    assert said["notes"] == ["Its shape is far from the world's: only the middle is used."]
    assert server.house.images.find(said["image"]) is not None


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        (b"", 400, "bad_image", "empty"),
        (b"not a picture", 400, "bad_image", "not a picture"),
        (b"<svg/>", 400, "bad_image", "SVG"),
        (picture()[:60], 400, "bad_image", "damaged"),
        (picture(size=(1, 1)), 400, "bad_image", "1 x 1"),
        (bytes(MAX_BYTES + 1), 413, "image_too_large", str(MAX_BYTES)),
    ],
)
async def test_bad_files_get_a_polite_answer(
    server: RunningServer, body: bytes, status: int, code: str, named: str
) -> None:
    answer = await post(server, body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert named in error["message"]
    assert error["remedy"]
    assert error["id"]
    assert len(server.house.images) == 0
    assert (await post(server, picture())).status_code == 200, "and nobody else is disturbed"


async def test_pictures_from_other_sites_are_refused(server: RunningServer) -> None:
    answer = await post(server, picture(), Origin="https://evil.example")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
    assert len(server.house.images) == 0


async def test_a_body_without_its_length_is_refused(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.http) as client:
        answer = await client.post("/api/image", content=chunked(picture()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image_too_large")


async def test_somebody_who_hangs_up_leaves_nothing(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /api/image HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + picture()[:50])
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
    assert (await post(server, picture())).status_code == 200
    assert len(server.house.images) == 1
    assert "Traceback" not in caplog.text


# -- in a session -----------------------------------------------------------------------------------------------------


class Hall:
    """A lobby with two pictures, whose worker is a list of commands."""

    def __init__(self, clock: Clock) -> None:
        self.commands: list[Command] = []
        self.pictures = {"a": kept("a", caption="forest"), "b": kept("b", caption="desert")}
        metrics, info = Metrics(), world_info(WORLD)
        self.lobby = Lobby(
            self.commands.append, info, SessionConfig(), VIDEO, metrics, clock, find_image=self.pictures.get
        )

    def come(self, **hello: str | int | None) -> FakeLink:
        link = FakeLink()
        session = self.lobby.admit(Hello(**{"seed": 1, "prompt": "", **hello}), link)  # type: ignore[arg-type]
        self.lobby.enter(session)
        return link

    def begun(self, seed: int, prompt: str, image: StartImage | None = None) -> mailbox.Play:
        """What the player's first turn should look like to the worker."""
        assert self.lobby.player is not None
        return mailbox.Play(1, seed, prompt, None, session=self.lobby.player.id, image=image)

    def last(self) -> Command:
        return [c for c in self.commands if isinstance(c, mailbox.Play | mailbox.Renew)][-1]


@pytest.fixture
def hall(clock: Clock) -> Hall:
    return Hall(clock)


def test_a_picture_without_words_is_its_caption(hall: Hall) -> None:
    link = hall.come(image="a", prompt="  ")
    assert hall.last() == hall.begun(1, "forest", hall.pictures["a"])
    assert link.said(Notice) == []


def test_words_win_over_the_caption(hall: Hall) -> None:
    hall.come(image="a", prompt="desert at night")
    assert hall.last() == hall.begun(1, "desert at night", hall.pictures["a"])


def test_a_picture_that_is_gone_is_said_and_the_world_begins(hall: Hall) -> None:
    link = hall.come(image="gone", prompt="forest")
    assert hall.last() == hall.begun(1, "forest")
    assert [notice.code for notice in link.said(Notice)] == ["image_gone"]
    assert not link.closed


def test_a_reset_may_bring_a_picture_or_leave_it(hall: Hall) -> None:
    link = hall.come(prompt="forest")
    player = hall.lobby.player
    assert player is not None
    receive(hall.lobby, player, encode(Reset(seed=2, prompt="", image="b")))
    assert hall.last() == mailbox.Renew(2, "desert", hall.pictures["b"])
    receive(hall.lobby, player, encode(Reset(seed=2, prompt="night")))
    assert hall.last() == mailbox.Renew(2, "night", None)
    receive(hall.lobby, player, encode(Reset(seed=3, prompt="night", image="gone")))
    assert hall.last() == mailbox.Renew(3, "night", None)
    assert [notice.code for notice in link.said(Notice)] == ["image_gone"]


def test_a_picture_waits_in_line_with_its_owner(hall: Hall) -> None:
    hall.come()
    first = hall.lobby.player
    hall.come(image="b", seed=9)
    assert first is not None
    hall.pictures.clear()  # expired meanwhile
    hall.lobby.leave(first)
    command = hall.last()
    assert isinstance(command, mailbox.Play)
    assert (command.seed, command.prompt) == (9, "desert")
    assert command.image is not None


def test_everyone_hears_what_the_world_began_from(hall: Hall) -> None:
    link, viewer = hall.come(image="a"), hall.come(watch=True)
    strange = replace(hall.pictures["a"], sight=Sight("forest", 0.2, 1.5))
    hall.lobby.on_event(WorldReady(1, 1, "forest", ("forest",), strange))
    expected = WorldChanged(
        seed=1, prompt="forest", understood=("forest",), unknown=(), image="a", caption="forest", familiar=False
    )
    assert link.said(WorldChanged) == viewer.said(WorldChanged) == [expected]
    hall.lobby.on_event(WorldReady(1, 1, "forest", ("forest",)))
    assert link.said(WorldChanged)[-1].familiar is None


def test_the_worker_begins_from_the_picture_and_says_so_with_every_new_prompt(clock: Clock) -> None:
    bench = Bench(clock)
    rgb = np.full((SMALL.height_px, SMALL.width_px, 3), (9, 90, 200), np.uint8)
    image = replace(kept("a"), rgb=rgb)
    bench.worker.submit(mailbox.Play(1, 7, "forest", None, image=image))
    assert len(bench.run(0.5)) == 12
    begun = [bench.player.image]
    bench.worker.submit(mailbox.Say("desert"))
    bench.run(0.1)
    assert bench.of(WorldReady) == [
        WorldReady(1, 7, "forest", ("forest",), image), WorldReady(1, 7, "desert", ("desert",), image)
    ]  # fmt: skip
    bench.worker.submit(mailbox.Renew(8, "desert"))
    bench.run(0.1)
    begun.append(bench.player.image)
    assert begun[0] is rgb
    assert begun[1] is None
    assert bench.of(WorldReady)[-1] == WorldReady(1, 8, "desert", ("desert",))


def test_a_slower_rung_keeps_the_picture(clock: Clock) -> None:
    world = replace(SMALL, steps=4, draw_s=0.02, wait=clock.advance)
    bench = Bench(clock, world)
    image = replace(kept("a"), rgb=np.zeros((world.height_px, world.width_px, 3), np.uint8))
    bench.worker.submit(mailbox.Play(1, 7, "forest", None, image=image))
    bench.run(10.0)
    assert bench.player.world.steps < 4
    assert bench.player.image is image.rgb
