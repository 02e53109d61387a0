"""The track and the sender: dropping to key frames, pacing, and the contract with aiortc's internals."""

from __future__ import annotations

import asyncio
import inspect
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder as AiortcH264Encoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtcpParameters, RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtpPacket,
    is_rtcp,
    pack_remb_fci,
)

from worldstream.realtime.encoder import Encoded
from worldstream.realtime.mailbox import Drawn
from worldstream.realtime.tracks import PacedTransport, PacketSender, PacketTrack, SenderEvents

CODEC = RTCRtpCodecParameters(mimeType="video/H264", clockRate=90000, payloadType=101)
START = b"\0\0\0\1"


def picture(frame: int, keyframe: bool = False, size: int = 500) -> Drawn:
    data = START + (b"\x65" if keyframe else b"\x41") + b"\xaa" * size
    packet = av.Packet(data)
    packet.pts, packet.time_base = frame * 3750, Fraction(1, 90000)
    return Drawn(1, frame, 0, 0.0, 0.0, h264=Encoded(packet, data, keyframe))


class Wish:
    """Counts key-frame requests."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def frames(track: PacketTrack, count: int) -> list[int]:
    return [(await track.recv()).pts // 3750 for _ in range(count)]  # type: ignore[operator]


# -- the track


async def test_a_track_starts_with_a_key_frame() -> None:
    wish = Wish()
    track = PacketTrack(4, wish)
    track.push(picture(1))
    track.push(picture(2, keyframe=True))
    track.push(picture(3))
    assert await frames(track, 2) == [2, 3]
    assert (track.dropped, wish.count) == (1, 1)
    track.stop()


async def test_a_viewer_who_falls_behind_jumps_to_the_next_key_frame() -> None:
    wish = Wish()
    track = PacketTrack(4, wish)
    track.push(picture(1, keyframe=True))
    for frame in range(2, 8):
        track.push(picture(frame))
    assert wish.count > 0
    track.push(picture(8, keyframe=True))
    track.push(picture(9))
    assert await frames(track, 2) == [8, 9]
    assert track.dropped == 7
    track.stop()


async def test_skip_forgets_what_waits() -> None:
    track = PacketTrack(4, Wish())
    track.push(picture(1, keyframe=True))
    track.skip()
    track.push(picture(2))
    track.push(picture(3, keyframe=True))
    assert await frames(track, 1) == [3]
    track.stop()


async def test_stopping_ends_whoever_waits() -> None:
    track = PacketTrack(4, Wish())
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting
    track.push(picture(1, keyframe=True))
    with pytest.raises(MediaStreamError):
        await track.recv()


# -- the sender, on a transport that only records


class Wire:
    """What aiortc's sender needs of a DTLS transport."""

    state = "new"
    _stats_id = "wire"

    def __init__(self) -> None:
        self.sent: list[tuple[float, bytes]] = []

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), data))

    def _register_rtp_sender(self, sender: RTCRtpSender, parameters: RTCRtpSendParameters) -> None:
        pass

    def _unregister_rtp_sender(self, sender: RTCRtpSender) -> None:
        pass

    def media(self, ssrc: int) -> list[tuple[float, RtpPacket]]:
        packets = [(at, RtpPacket.parse(data)) for at, data in self.sent if not is_rtcp(data)]
        return [(at, packet) for at, packet in packets if packet.ssrc == ssrc]


class Studio:
    """A PacketSender on a Wire."""

    def __init__(self) -> None:
        self.wire, self.keyframes, self.rates, self.heard = Wire(), Wish(), list[int](), Wish()
        self.stamps: list[tuple[int, int]] = []
        self.track = PacketTrack(50, Wish())
        plain = RTCRtpSender(self.track, self.wire)  # type: ignore[arg-type]
        events = SenderEvents(
            keyframe=self.keyframes,
            bandwidth=self.rates.append,
            sent=lambda drawn, rtp: self.stamps.append((drawn.frame, rtp)),
            heard=self.heard,
        )
        self.sender = PacketSender.adopt(plain, events, spread_s=0.020)

    async def send(self, *pictures: Drawn, seconds: float = 0.15) -> list[tuple[float, RtpPacket]]:
        if not pictures:
            return []
        await self.sender.send(
            RTCRtpSendParameters(codecs=[CODEC], rtcp=RTCRtcpParameters(cname="x", ssrc=self.sender._ssrc))
        )
        for item in pictures:
            self.track.push(item)
        await asyncio.sleep(seconds)
        await self.sender.stop()
        return self.wire.media(self.sender._ssrc)


async def test_the_reported_timestamp_is_the_one_on_the_wire() -> None:
    studio = Studio()
    packets = await studio.send(picture(1, keyframe=True), picture(2), picture(5))
    assert [packet.timestamp for _, packet in packets] == [rtp for _, rtp in studio.stamps]
    assert [frame for frame, _ in studio.stamps] == [1, 2, 5]
    first, second, third = (rtp for _, rtp in studio.stamps)
    assert (second - first) & 0xFFFFFFFF == 3750
    assert (third - second) & 0xFFFFFFFF == 3 * 3750


async def test_a_key_frame_is_spread_and_others_leave_at_once() -> None:
    studio = Studio()
    packets = await studio.send(picture(1, keyframe=True, size=26_000), picture(2, size=26_000), seconds=0.3)
    key = [at for at, packet in packets if packet.timestamp == studio.stamps[0][1]]
    other = [at for at, packet in packets if packet.timestamp == studio.stamps[1][1]]
    assert len(key) == len(other) >= 20
    assert 0.010 <= key[-1] - key[0] <= 0.100  # 20 ms, and what a busy machine adds
    assert max(after - before for before, after in pairwise(key)) >= 0.002
    assert other[-1] - other[0] < 0.010


async def test_feedback_reaches_the_encoder() -> None:
    studio = Studio()
    ssrc = studio.sender._ssrc
    for fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
        await studio.sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=fmt, ssrc=1, media_ssrc=ssrc))
    assert studio.keyframes.count == 2
    for fci in (pack_remb_fci(700_000, [ssrc]), pack_remb_fci(100_000, [ssrc + 1]), b"junk"):
        await studio.sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci))
    assert studio.rates == [pytest.approx(700_000, rel=0.01)]
    assert studio.heard.count == 5
    studio.track.stop()


async def test_a_repeated_packet_is_no_part_of_the_frame() -> None:
    studio = Studio()
    packets = await studio.send(picture(1, keyframe=True), picture(2))
    again = packets[0][1].serialize()
    before = len(studio.stamps)
    await studio.sender._paced._send_rtp(again)
    studio.sender._paced.begin(1, key=False)
    await studio.sender._paced._send_rtp(again)
    assert len(studio.stamps) == before
    assert len(studio.wire.sent) >= 4


# -- the contract with aiortc 1.16


def test_aiortc_still_has_what_we_override() -> None:
    for name in ("_send_keyframe", "_handle_rtcp_packet", "_next_encoded_frame", "transport"):
        assert name in RTCRtpSender.__dict__, f"aiortc's sender lost {name}"
    assert "__slots__" not in RTCRtpSender.__dict__  # else `adopt` could not change the class
    for method in ("_run_rtp", "_retransmit", "_send_rtcp"):
        source = inspect.getsource(getattr(RTCRtpSender, method))
        assert "self.transport._send_rtp(" in source, f"{method} no longer sends through self.transport"
    assert "self._next_encoded_frame(" in inspect.getsource(RTCRtpSender._run_rtp)
    assert "self._send_keyframe()" in inspect.getsource(RTCRtpSender._handle_rtcp_packet)
    assert ".pack(data)" in inspect.getsource(RTCRtpSender._next_encoded_frame)
    assert hasattr(RTCDtlsTransport, "_send_rtp")
    assert hasattr(RTCPeerConnection, "_RTCPeerConnection__connect")


def test_aiortc_still_packs_without_touching_the_timestamp() -> None:
    encoded = picture(7, keyframe=True).h264
    assert encoded is not None
    payloads, timestamp = AiortcH264Encoder().pack(encoded.packet)
    assert timestamp == 7 * 3750
    assert b"".join(payloads) == encoded.data[len(START) :]


async def test_the_peer_connection_uses_the_adopted_sender() -> None:
    connection = RTCPeerConnection()
    track = PacketTrack(4, Wish())
    transceiver = connection.addTransceiver(track, direction="sendonly")
    nothing = SenderEvents(lambda: None, lambda bps: None, lambda drawn, rtp: None, lambda: None)
    sender = PacketSender.adopt(transceiver.sender, nothing, 0.02)
    assert connection.getSenders() == [sender]
    assert isinstance(sender.transport, PacedTransport)
    assert sender.transport.state == "new"
    assert await connection.getStats() is not None
    track.stop()
    await connection.close()
