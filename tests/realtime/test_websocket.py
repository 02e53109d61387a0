"""The WebSocket driver, end to end: a real uvicorn on a loopback port and a real client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import av
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.realtime.doubles import RunningServer, eventually
from worldstream.realtime.checks import Message
from worldstream.realtime.config import VideoConfig
from worldstream.realtime.encoder import Encoded
from worldstream.realtime.mailbox import Drawn
from worldstream.realtime.protocol import (
    KIND_H264,
    KIND_JPEG,
    Bye,
    ErrorMessage,
    Hello,
    Input,
    Picture,
    Ping,
    Pong,
    Prompt,
    Reset,
    State,
    Stats,
    Welcome,
    WorldChanged,
    decode_picture,
    decode_server,
    encode,
)
from worldstream.realtime.websocket import SocketLink


class Visitor:
    """A page, as far as the server can tell."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        self.pictures: list[Picture] = []

    async def say(self, message: Message) -> None:
        await self.socket.send(encode(message))

    async def until(self, done: Callable[[Visitor], object], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not done(self):
                await self.take()

    async def take(self) -> None:
        raw = await self.socket.recv()
        if isinstance(raw, str):
            self.messages.append(decode_server(raw))
        else:
            self.pictures.append(decode_picture(raw))

    def last(self, kind: type[Message]) -> Message | None:
        return next((message for message in reversed(self.messages) if isinstance(message, kind)), None)

    async def close_code(self) -> int:
        """Read on until the server closes."""
        with pytest.raises(ConnectionClosed) as closed:
            await self.until(lambda _: False)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


@asynccontextmanager
async def visit(server: RunningServer, hello: Hello | None = None) -> AsyncIterator[Visitor]:
    async with connect(server.socket, compression=None, max_size=2**22) as socket:
        visitor = Visitor(socket)
        if hello is not None:
            await visitor.say(hello)
        yield visitor


HELLO = Hello(seed=3, prompt="a forest with zebras")


async def test_a_visit(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: len(v.pictures) >= 5 and v.last(Stats))
        welcome, state, world = visitor.messages[:3]
        assert isinstance(welcome, Welcome)
        assert (welcome.role, welcome.world.name) == ("player", "fake")
        assert state == State(state="live")
        assert world == WorldChanged(seed=3, prompt=HELLO.prompt, understood=("forest",), unknown=("zebras",))
        numbers = [picture.frame for picture in visitor.pictures]
        assert numbers == sorted(set(numbers))
        for picture in visitor.pictures:
            assert picture.kind == KIND_JPEG
            assert picture.payload[:2] == b"\xff\xd8"
        await visitor.say(Ping(t=4.0))
        await visitor.until(lambda v: v.last(Pong))
        await visitor.say(Bye())
        assert await visitor.close_code() == 1000
    assert server.house.lobby.sessions == {}


async def test_the_first_picture_is_quick(server: RunningServer) -> None:
    began_s = time.perf_counter()
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: v.pictures)
    assert time.perf_counter() - began_s < 0.7


async def test_inputs_come_back_in_the_header(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: v.pictures)
        assert visitor.pictures[-1].input == 0
        await visitor.say(Input(seq=41, keys=frozenset({"forward"})))
        await visitor.until(lambda v: v.pictures[-1].input == 41)
        answer = visitor.pictures[-1]
        assert 0.0 < answer.server_ms < 500.0


async def test_prompt_and_reset_change_the_world(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.say(Prompt(prompt="desert"))
        await visitor.until(lambda v: v.last(WorldChanged) == WorldChanged(3, "desert", ("desert",), ()))
        await visitor.say(Reset(seed=9, prompt="forest"))
        await visitor.until(lambda v: v.last(WorldChanged) == WorldChanged(9, "forest", ("forest",), ()))


async def test_h264_decodes_from_the_first_picture(server: RunningServer) -> None:
    async with visit(server, replace(HELLO, codec="h264")) as visitor:
        await visitor.until(lambda v: len(v.pictures) >= 12)
    assert visitor.pictures[0].keyframe
    decoder = av.CodecContext.create("h264", "r")
    decoded = [frame for p in visitor.pictures for frame in decoder.decode(av.Packet(p.payload))]
    assert len(decoded) >= 10
    assert {picture.kind for picture in visitor.pictures} == {KIND_H264}


async def test_queue_viewer_and_handover(server: RunningServer) -> None:
    async with visit(server, HELLO) as player, visit(server, replace(HELLO, watch=True)) as viewer:
        await player.until(lambda v: v.pictures)
        async with visit(server, replace(HELLO, seed=8)) as waiting:
            await waiting.until(lambda v: v.last(State) == State(state="queued", place=1) and v.pictures)
            await viewer.until(lambda v: v.pictures)
            await player.say(Bye())
            await waiting.until(lambda v: v.last(State) == State(state="live"))
            await waiting.until(lambda v: getattr(v.last(WorldChanged), "seed", None) == 8)
            count = len(waiting.pictures)
            await waiting.until(lambda v: len(v.pictures) > count + 3)
            await viewer.until(lambda v: getattr(v.last(WorldChanged), "seed", None) == 8)


async def test_a_failing_session_is_closed_with_its_id(server: RunningServer) -> None:
    async with visit(server, HELLO) as unlucky, visit(server, replace(HELLO, seed=5)) as lucky:
        await unlucky.until(lambda v: v.pictures)
        await unlucky.say(Reset(seed=1, prompt="please fail"))
        assert await unlucky.close_code() == 4500
        error = unlucky.last(ErrorMessage)
        assert isinstance(error, ErrorMessage)
        assert error.fatal
        assert error.id
        await lucky.until(lambda v: v.last(State) == State(state="live") and v.pictures)


@pytest.mark.parametrize(
    ("first", "close_code"),
    [
        ("nonsense", 4400),
        ('{"type":"ping","t":1}', 4400),
        (b"\0\1\2", 4400),
        ('{"type":"hello","v":2,"seed":1,"prompt":""}', 4401),
        ("x" * 20_000, 4413),
        (None, 4408),
    ],
)
async def test_who_does_not_say_hello_is_turned_away(
    server: RunningServer, first: str | bytes | None, close_code: int
) -> None:
    async with visit(server) as visitor:
        if first is not None:
            await visitor.socket.send(first)
        assert await visitor.close_code() == close_code
        error = visitor.last(ErrorMessage)
        assert isinstance(error, ErrorMessage)
        assert error.fatal


async def test_binary_and_oversized_messages_in_a_session(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.socket.send(b"\0\1")
        await visitor.until(lambda v: v.last(ErrorMessage))
        await visitor.socket.send(json.dumps({"type": "ping", "t": 1, "x": "y" * 17_000}))
        assert await visitor.close_code() == 4413


async def test_a_full_house(server: RunningServer) -> None:
    server.house.lobby.config = replace(server.house.config.sessions, max_sessions=1)
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: v.pictures)
        async with visit(server, HELLO) as late:
            assert await late.close_code() == 4429


async def test_pages_of_other_sites_may_not_connect(server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server.socket, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403
    async with connect(server.socket, origin=server.http):  # type: ignore[arg-type]
        pass


async def test_a_vanished_client_is_noticed(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: v.pictures)
        visitor.socket.transport.abort()
        await eventually(lambda: not server.house.lobby.sessions)


async def test_a_stopping_server_says_so(server: RunningServer) -> None:
    async with visit(server, HELLO) as visitor:
        await visitor.until(lambda v: v.pictures)
        closing = asyncio.create_task(server.house.close())
        assert await visitor.close_code() == 1001
        await closing


# -- the outbox alone


def drawn(frame: int, keyframe: bool = False) -> Drawn:
    encoded = Encoded(av.Packet(b"x"), b"h264", keyframe)
    return Drawn(1, frame, 5, 0.0, 0.0, h264=encoded, jpeg=b"jpeg")


async def test_a_slow_line_sees_the_newest_jpeg() -> None:
    link = SocketLink("jpeg", VideoConfig().queue_frames, lambda: None)
    for frame in range(10):
        link.show(drawn(frame), 5)
    assert [decode_picture(data).frame for data in link._pictures] == [9]
    assert link.dropped == 9


async def test_a_slow_line_jumps_to_the_next_h264_key_frame() -> None:
    wanted: list[int] = []
    link = SocketLink("h264", 4, lambda: wanted.append(1))
    link.show(drawn(0, keyframe=True), 5)
    for frame in range(1, 7):
        link.show(drawn(frame), 5)
    link.show(drawn(7, keyframe=True), 5)
    assert [decode_picture(data).frame for data in link._pictures] == [7]
    assert wanted
    assert link.dropped == 7


async def test_a_dead_line_does_not_pile_up_messages() -> None:
    link = SocketLink("jpeg", 4, lambda: None)
    for _ in range(10_000):
        link.send(Ping(t=1.0))
    assert len(link._messages) <= 256
    link.close(None)
    link.close(None)
    link.show(drawn(1), 1)
    assert not link._pictures
