"""The WebRTC driver, end to end: a real aiortc peer against a real server on a loopback port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import av
import httpx
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from tests.realtime.doubles import RunningServer, eventually
from worldstream.realtime.checks import Message
from worldstream.realtime.mailbox import Drawn, Event
from worldstream.realtime.protocol import (
    Bye,
    ErrorMessage,
    FrameMeta,
    Hello,
    Input,
    State,
    Stats,
    Welcome,
    WorldChanged,
    decode_server,
    encode,
)
from worldstream.realtime.webrtc import _h264_first, _without_mdns

HELLO = Hello(seed=3, prompt="forest")


class Peer:
    """A browser, as far as the server can tell."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.transceiver: RTCRtpTransceiver = self.connection.addTransceiver("video", direction="recvonly")
        self.channel: RTCDataChannel = self.connection.createDataChannel("control")
        self.messages: list[Message] = []
        self.channel.on("message", lambda raw: self.messages.append(decode_server(raw)))
        self.pictures: list[av.VideoFrame] = []
        self.rtp: list[int] = []  # timestamps on the wire
        self._watching: asyncio.Task[None] | None = None

    async def call(self, server: RunningServer, hello: Hello = HELLO) -> httpx.Response:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        body = {"sdp": self.connection.localDescription.sdp, "type": "offer", "hello": json.loads(encode(hello))}
        async with httpx.AsyncClient() as client:
            return await client.post(f"{server.http}/api/offer", json=body)

    async def connect(self, server: RunningServer, hello: Hello = HELLO) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.call(server, hello)).json()
        self._record_timestamps()
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        self._watching = asyncio.create_task(self._watch(self.transceiver.receiver.track))
        return answer

    def _record_timestamps(self) -> None:
        receiver: Any = self.transceiver.receiver
        inner = receiver._handle_rtp_packet

        async def handle(packet: Any, **options: Any) -> None:
            if packet.payload and (not self.rtp or self.rtp[-1] != packet.timestamp):
                self.rtp.append(packet.timestamp)
            await inner(packet, **options)

        receiver._handle_rtp_packet = handle

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            picture = await track.recv()
            assert isinstance(picture, av.VideoFrame)
            self.pictures.append(picture)

    def fall_silent(self) -> None:
        """A machine that went to sleep sends neither reports nor NACKs."""

        async def nothing(packet: object) -> None:
            pass

        receiver: Any = self.transceiver.receiver
        receiver._send_rtcp = nothing

    async def lose_a_picture(self) -> None:
        """What a receiver says when it cannot decode."""
        receiver: Any = self.transceiver.receiver
        (ssrc, *_) = receiver._RTCRtpReceiver__remote_streams
        await receiver._send_rtcp_pli(ssrc)

    def say(self, message: Message) -> None:
        self.channel.send(encode(message))

    def last(self, kind: type[Message]) -> Any:
        return next((message for message in reversed(self.messages) if isinstance(message, kind)), None)

    def metas(self) -> list[FrameMeta]:
        return [message for message in self.messages if isinstance(message, FrameMeta)]

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.connection.close()


@asynccontextmanager
async def peer(server: RunningServer, hello: Hello | None = HELLO) -> AsyncIterator[Peer]:
    one = Peer()
    try:
        if hello is not None:
            await one.connect(server, hello)
        yield one
    finally:
        await one.close()


async def test_a_visit(server: RunningServer) -> None:
    began_s = time.perf_counter()
    async with peer(server) as visitor:
        await eventually(lambda: visitor.pictures)
        assert time.perf_counter() - began_s < 1.5
        assert (visitor.pictures[0].width, visitor.pictures[0].height) == (320, 192)
        await eventually(lambda: len(visitor.pictures) >= 20 and visitor.last(Stats))
        welcome, state, world = visitor.messages[:3]
        assert isinstance(welcome, Welcome)
        assert (welcome.role, welcome.session) == ("player", next(iter(server.house.lobby.sessions)))
        assert state == State(state="live")
        assert world == WorldChanged(seed=3, prompt="forest", understood=("forest",), unknown=())
        visitor.say(Bye())
        await eventually(lambda: not server.house.peers.links)
    assert server.house.lobby.sessions == {}


async def test_every_frame_message_names_the_timestamp_on_the_wire(server: RunningServer) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: len(visitor.metas()) >= 30)
        rtp = set(visitor.rtp)
        matched = [meta for meta in visitor.metas()[:25] if meta.rtp in rtp]
        assert len(matched) == 25


async def test_inputs_are_answered(server: RunningServer) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: visitor.metas())
        visitor.say(Input(seq=6, keys=frozenset({"forward"})))
        await eventually(lambda: visitor.metas()[-1].input == 6)


async def test_a_lost_picture_brings_a_key_frame(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: len(visitor.pictures) > 10)
        keys: list[bool] = []
        deliver = server.house.lobby.on_event

        def watch(event: Event) -> None:
            if isinstance(event, Drawn) and event.h264 is not None:
                keys.append(event.h264.keyframe)
            deliver(event)

        monkeypatch.setattr(server.house.lobby, "on_event", watch)
        await asyncio.sleep(0.4)
        await visitor.lose_a_picture()
        await eventually(lambda: any(keys))


async def test_viewers_share_one_encode(server: RunningServer) -> None:
    async with peer(server) as player, peer(server, replace(HELLO, watch=True)) as viewer:
        await eventually(lambda: len(viewer.pictures) >= 10 and len(player.pictures) >= 10)
        assert viewer.last(Welcome).role == "viewer"
        player.say(Input(seq=9, keys=frozenset({"forward"})))
        await eventually(lambda: player.metas()[-1].input == 9)
        assert all(meta.input == 0 for meta in viewer.metas())
        assert server.house.lobby._formats.h264


async def test_the_answer_is_h264_constrained_baseline_and_sendonly(server: RunningServer) -> None:
    one = Peer()
    sdp = (await one.connect(server))["sdp"]
    await one.close()
    video = sdp[sdp.index("m=video") :].split("m=application")[0]
    first = video.split()[3]
    assert f"a=rtpmap:{first} H264/90000" in video
    assert f"a=fmtp:{first} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" in video
    assert "VP8" not in video
    assert "a=sendonly" in video
    assert "a=candidate" in sdp


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("H264", "H263"),
        ("m=application", "m=audio"),
        ("a=recvonly", "a=sendonly"),
        ("a=ice-ufrag", "a=x"),
        ("a=fingerprint", "a=x"),
        ("a=mid:0", "a=mid:0\r\na=mid:7"),
        ("a=setup:actpass", "a=setup:nonsense"),
    ],
)
async def test_offers_that_cannot_work_leave_nothing_behind(server: RunningServer, old: str, new: str) -> None:
    one = Peer()
    await one.connection.setLocalDescription(await one.connection.createOffer())
    sdp = one.connection.localDescription.sdp
    assert old in sdp
    body = {"sdp": sdp.replace(old, new), "type": "offer", "hello": json.loads(encode(HELLO))}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.http}/api/offer", json=body)
    await one.connection.close()
    if answer.status_code == 400:
        assert answer.json()["error"]["code"] == "bad_offer"
    else:
        assert answer.status_code == 200  # unusual, but it can be answered; it will never connect
    await eventually(lambda: not server.house.peers.links)
    assert server.house.lobby.sessions == {}


async def test_a_peer_that_never_connects_is_dropped(server: RunningServer) -> None:
    one = Peer()
    assert (await one.call(server)).status_code == 200
    assert len(server.house.peers.links) == 1
    await eventually(lambda: not server.house.peers.links)  # connect_timeout_s is 1.5 here
    await one.close()


async def test_a_peer_that_falls_silent_is_dropped(server: RunningServer) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: visitor.pictures)
        visitor.fall_silent()
        await eventually(lambda: not server.house.peers.links)
    assert server.house.lobby.sessions == {}


async def test_a_full_house_says_so_before_any_answer(server: RunningServer) -> None:
    server.house.lobby.config = replace(server.house.config.sessions, max_sessions=0)
    one = Peer()
    answer = await one.call(server)
    await one.close()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_sessions")
    assert not server.house.peers.links


async def test_oversized_and_malformed_messages_on_the_channel(server: RunningServer) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: visitor.pictures)
        visitor.channel.send(b"\0\1\2")
        await eventually(lambda: visitor.last(ErrorMessage))
        visitor.channel.send("x" * 20_000)
        await eventually(lambda: visitor.last(ErrorMessage).code == "too_large" and visitor.last(ErrorMessage).fatal)
        await eventually(lambda: not server.house.peers.links)


async def test_a_stopping_server_says_so(server: RunningServer) -> None:
    async with peer(server) as visitor:
        await eventually(lambda: visitor.pictures)
        await server.house.close()
        await eventually(lambda: getattr(visitor.last(ErrorMessage), "code", "") == "server_stopping")


def test_mdns_candidates_are_dropped() -> None:
    sdp = (
        "v=0\r\na=candidate:1 1 udp 2113937151 4cbd1a1c-9f6d.local 50000 typ host\r\n"
        "a=candidate:2 1 udp 2113937151 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n"
    )
    assert _without_mdns(sdp) == "v=0\r\na=candidate:2 1 udp 2113937151 192.0.2.1 50000 typ host\r\n"


def test_h264_comes_first_and_nothing_else_is_offered() -> None:
    names = [(codec.mimeType, codec.parameters.get("profile-level-id")) for codec in _h264_first()]
    assert names == [("video/H264", "42e01f"), ("video/H264", "42001f"), ("video/rtx", None)]
