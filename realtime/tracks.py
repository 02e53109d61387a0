"""One viewer's video: a short queue of access units that are already encoded, and their way into aiortc.

aiortc takes pre-encoded `av.Packet`s from a track, but in that path it keeps three things to itself: key-frame
requests (PLI and FIR, RFC 4585 and 5104), the receiver's bandwidth estimate (REMB) and the RTP timestamp. PacketSender
is the smallest subclass of its sender that surfaces them, and it paces: aiortc sends all packets of a frame back to
back, which overflows narrow queues when the frame is a key frame. tests/realtime/test_tracks.py fails when aiortc
changes what this file leans on.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender
from aiortc.rtp import RTCP_PSFB_APP, AnyRtcpPacket, RtcpPsfbPacket, is_rtcp, unpack_remb_fci

from . import pacing
from .keyframe_gate import KeyframeGate
from .mailbox import Drawn

if TYPE_CHECKING:
    from aiortc.rtcdtlstransport import RTCDtlsTransport
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters
    from av import Packet


class PacketTrack(MediaStreamTrack):
    """Holds what one viewer has not been sent yet. A viewer who falls behind loses whole groups of pictures: half a
    group cannot be decoded."""

    kind = "video"

    def __init__(self, limit: int, want_keyframe: Callable[[], None]) -> None:
        super().__init__()
        self._limit = limit
        self._gate = KeyframeGate(want_keyframe)
        self._queue: deque[Drawn] = deque()
        self._arrived = asyncio.Event()
        self.sending: Drawn | None = None  # the picture that recv() handed out last
        self.dropped = 0

    def push(self, drawn: Drawn) -> None:
        """Queue the picture, or drop it and ask for a key frame."""
        if drawn.h264 is None or self.readyState != "live":
            return
        if len(self._queue) >= self._limit:
            self.dropped += len(self._queue)
            self.skip()
        if not self._gate.lets(drawn.h264.keyframe):
            self.dropped += 1
            return
        self._queue.append(drawn)
        self._arrived.set()

    def skip(self) -> None:
        """Forget what waits; the next picture must be a key frame (the tab was hidden)."""
        self._queue.clear()
        self._gate.close()

    async def recv(self) -> Packet[Any]:
        """The next access unit. Raises MediaStreamError when the track has ended."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        drawn = self._queue.popleft()
        assert drawn.h264 is not None
        self.sending = drawn
        return drawn.h264.packet

    def stop(self) -> None:
        """Ends the track and wakes whoever waits in `recv`."""
        super().stop()
        self._queue.clear()
        self._arrived.set()


@dataclass(frozen=True, slots=True)
class SenderEvents:
    """What `PacketSender` surfaces; all are called on the event loop."""

    keyframe: Callable[[], None]  # PLI or FIR
    bandwidth: Callable[[int], None]  # REMB, bits per second
    sent: Callable[[Drawn, int], None]  # the picture, and the RTP timestamp on its packets
    heard: Callable[[], None]  # any RTCP: the receiver lives


class PacketSender(RTCRtpSender):
    """aiortc's sender, opened up. Made with `adopt`, because RTCPeerConnection builds its own senders."""

    _events: SenderEvents
    _paced: PacedTransport

    @classmethod
    def adopt(cls, sender: RTCRtpSender, events: SenderEvents, spread_s: float) -> PacketSender:
        """Turn `sender`, which has not started, into a PacketSender. Call after setRemoteDescription: that is what
        decides on the transport."""
        transport = sender.transport
        sender.__class__ = cls
        assert isinstance(sender, PacketSender)
        sender._events = events
        sender._paced = PacedTransport(transport, sender, spread_s)
        return sender

    @property
    def transport(self) -> RTCDtlsTransport:
        return self._paced  # type: ignore[return-value]  # it forwards everything else

    def _send_keyframe(self) -> None:
        self._events.keyframe()

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        self._events.heard()
        await super()._handle_rtcp_packet(packet)
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if self._ssrc in ssrcs:
                self._events.bandwidth(bitrate_bps)

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame = await super()._next_encoded_frame(codec)
        if frame is not None:
            self._paced.begin(len(frame.payloads), key=self._sending_keyframe())
        return frame

    def _sending_keyframe(self) -> bool:
        drawn = self.track.sending if isinstance(self.track, PacketTrack) else None
        return drawn is not None and drawn.h264 is not None and drawn.h264.keyframe

    def left(self, rtp_timestamp: int) -> None:
        """The first packet of the current picture is on its way."""
        track = self.track
        if isinstance(track, PacketTrack) and track.sending is not None:
            self._events.sent(track.sending, rtp_timestamp)


class PacedTransport:
    """A DTLS transport on which the key frames of one sender leave in bursts."""

    def __init__(self, inner: RTCDtlsTransport, sender: PacketSender, spread_s: float) -> None:
        self._inner = inner
        self._sender = sender
        self._spread_s = spread_s
        self._position = 0
        self._burst = 1
        self._gap_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin(self, packets: int, key: bool) -> None:
        """A frame of `packets` follows. Only key frames are spread: for the others it would be plain delay."""
        self._position = 0
        self._burst, self._gap_s = pacing.bursts(packets, self._spread_s if key else 0.0)

    async def _send_rtp(self, data: bytes) -> None:
        media = not is_rtcp(data) and struct.unpack_from("!I", data, 8)[0] == self._sender._ssrc
        if media and not self._is_repeat(data):
            if self._position == 0:
                self._sender.left(struct.unpack_from("!I", data, 4)[0])
            elif self._gap_s > 0.0 and self._position % self._burst == 0:
                await asyncio.sleep(self._gap_s)
            self._position += 1
        await self._inner._send_rtp(data)

    def _is_repeat(self, data: bytes) -> bool:
        """Without RTX (RFC 4588) a retransmission is the old packet again: it must not count as part of the frame."""
        sequence = struct.unpack_from("!H", data, 2)[0]
        newer = (sequence - getattr(self, "_sequence", sequence - 1)) & 0xFFFF
        if 0 < newer < 0x8000:
            self._sequence = sequence
            return False
        return True
