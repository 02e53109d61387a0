"""The WebRTC driver: `POST /api/offer`. Video leaves as H.264 over RTP, the protocol travels on the `control` channel.

The server has one address that a browser can reach, so it configures no STUN and answers at once; and it drops the
browser's `.local` candidates (RFC 8828 hides host addresses behind mDNS names), because waiting to resolve them costs a
second and the server learns the real address from the browser's first connectivity check anyway.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability

from .checks import Message
from .config import ServerConfig
from .conversation import receive
from .errors import BadOffer, WorldstreamError
from .lobby import Lobby
from .mailbox import Drawn
from .protocol import FrameMeta, Hello, encode
from .session import Codec, Session
from .tracks import PacketSender, PacketTrack, SenderEvents

logger = logging.getLogger(__name__)

MAX_SDP_CHARS = 64 * 1024
MAX_WAITING_MESSAGES = 256  # before the channel opens
MAX_BUFFERED_BYTES = 128 * 1024  # on the channel; above it, messages about single frames are left out
SDP_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    AssertionError,
)  # aiortc's parser is trusting
PEER_ERRORS = (InternalError, InvalidAccessError, InvalidStateError, OperationError)


class Connection(RTCPeerConnection):
    """aiortc's, minus a traceback in the log whenever a visitor leaves while the connection comes up."""

    async def _RTCPeerConnection__connect(self) -> None:
        with suppress(InvalidStateError, ConnectionError):
            await super()._RTCPeerConnection__connect()  # type: ignore[misc]


class PeerLink:
    """The line to one user over WebRTC. `Link` of session.py."""

    codec: Codec = "rtp"

    def __init__(self, lobby: Lobby, config: ServerConfig, on_closed: Callable[[PeerLink], None]) -> None:
        self._lobby = lobby
        self._config = config
        self._on_closed = on_closed
        self.bandwidth_bps: int | None = None
        self.session: Session | None = None
        self.connection = Connection(RTCConfiguration(iceServers=[]))
        self.track = PacketTrack(config.video.queue_frames, lobby.want_keyframe)
        self._channel: RTCDataChannel | None = None
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING_MESSAGES)
        self._input_ids: dict[int, int] = {}  # frame -> the input id to report for it
        self._heard_s = lobby.clock()
        self._connected = False
        self._closing: asyncio.Task[None] | None = None

    # -- Link

    @property
    def dropped(self) -> int:
        return self.track.dropped

    def send(self, message: Message) -> None:
        if self._closing is not None:
            return
        if self._channel is None:
            self._waiting.append(encode(message))
        elif self._channel.readyState == "open":
            self._channel.send(encode(message))

    def show(self, drawn: Drawn, input_id: int) -> None:
        if self._closing is None:
            self._input_ids[drawn.frame] = input_id
            while len(self._input_ids) > 4 * self._config.video.queue_frames:
                del self._input_ids[next(iter(self._input_ids))]
            self.track.push(drawn)

    def skip(self) -> None:
        self.track.skip()

    def close(self, error: WorldstreamError | None) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(grace_s=0.0 if error is None else 0.2))

    async def _close(self, grace_s: float) -> None:
        """Let the last words out, then take everything down."""
        if grace_s > 0.0 and self._connected:
            await asyncio.sleep(grace_s)
        if self.session is not None:
            self._lobby.leave(self.session)
        self.track.stop()
        try:
            await self.connection.close()
        except Exception:
            logger.exception("closing a peer failed")
        self._on_closed(self)

    async def closed(self) -> None:
        """Until `close` has finished."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    # -- signalling

    async def answer(self, sdp: str) -> str:
        """The SDP answer. Raises BadOffer; the link must then be closed."""
        connection = self.connection
        transceiver = connection.addTransceiver(self.track, direction="sendonly")
        transceiver.setCodecPreferences(_h264_first())
        connection.on("datachannel", self._on_channel)
        connection.on("connectionstatechange", self._on_state)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(_without_mdns(sdp), "offer"))
            if transceiver.mid is None or connection.sctp is None:
                raise BadOffer("The offer needs a video transceiver and a data channel.")
            if transceiver._offerDirection not in ("sendonly", "sendrecv"):  # already seen from our side
                raise BadOffer("The offer does not want to receive video.")
            PacketSender.adopt(transceiver.sender, self._sender_events(), self._config.video.keyframe_spread_s)
            await connection.setLocalDescription(await connection.createAnswer())
        except PEER_ERRORS as error:
            raise BadOffer(f"The offer cannot be answered: {str(error)[:200]}") from None
        except SDP_ERRORS as error:
            raise BadOffer(f"The SDP cannot be read: {str(error)[:200]}") from None
        return connection.localDescription.sdp

    def _sender_events(self) -> SenderEvents:
        return SenderEvents(
            keyframe=self._lobby.want_keyframe, bandwidth=self._on_bandwidth, sent=self._on_sent, heard=self._on_heard
        )

    # -- what the connection reports

    def _on_state(self) -> None:
        state = self.connection.connectionState
        if state == "connected" and not self._connected:
            self._connected = True
            self._on_heard()
            if self.session is not None:
                self._lobby.enter(self.session)
        elif state in ("failed", "closed"):
            self.close(None)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != "control" or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._on_message)
        channel.on("close", lambda: self.close(None))
        while self._waiting:
            channel.send(self._waiting.popleft())

    def _on_message(self, raw: str | bytes) -> None:
        self._on_heard()
        if self.session is not None:
            receive(self._lobby, self.session, raw if isinstance(raw, str) else "(binary)")

    def _on_bandwidth(self, bitrate_bps: int) -> None:
        self.bandwidth_bps = bitrate_bps

    def _on_heard(self) -> None:
        self._heard_s = self._lobby.clock()

    def _on_sent(self, drawn: Drawn, rtp_timestamp: int) -> None:
        input_id = self._input_ids.pop(drawn.frame, 0)
        if self._channel is not None and self._channel.bufferedAmount > MAX_BUFFERED_BYTES:
            return
        self.send(
            FrameMeta(
                frame=drawn.frame,
                input=input_id,
                rtp=rtp_timestamp,
                media_time=drawn.media_time_s,
                server_ms=drawn.server_ms,
            )
        )

    def check(self, now_s: float) -> None:
        """Close a peer that never connected, or that has not been heard of for too long."""
        sessions = self._config.sessions
        limit_s = sessions.silence_limit_s if self._connected else sessions.connect_timeout_s
        if now_s - self._heard_s > limit_s:
            self.close(None)


class Peers:
    """All WebRTC peers of the server."""

    def __init__(self, lobby: Lobby, config: ServerConfig) -> None:
        self._lobby = lobby
        self._config = config
        self.links: set[PeerLink] = set()

    async def answer(self, sdp: str, hello: Hello) -> tuple[str, str]:
        """(SDP answer, session id). Raises BadOffer, TooManySessions or ServerStopping."""
        if len(sdp) > MAX_SDP_CHARS:
            raise BadOffer(f"an SDP of {len(sdp)} characters; {MAX_SDP_CHARS} is the limit")
        link = PeerLink(self._lobby, self._config, self.links.discard)
        self.links.add(link)
        try:
            link.session = self._lobby.admit(hello, link)
            return await link.answer(sdp), link.session.id
        except BaseException:  # also when the HTTP client went away meanwhile
            link.close(None)
            await link.closed()
            raise

    def tick(self) -> None:
        """Look at the time limits; call every `tick_s`."""
        now_s = self._lobby.clock()
        for link in list(self.links):
            link.check(now_s)

    async def stop(self) -> None:
        """Close all and wait until they are closed."""
        links = list(self.links)
        for link in links:
            link.close(None)
        await asyncio.gather(*(link.closed() for link in links))


def _h264_first() -> list[RTCRtpCodecCapability]:
    """H.264 constrained baseline, then baseline, and retransmission; no other codec, because no other is encoded."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    h264 = [codec for codec in codecs if codec.mimeType == "video/H264"]
    h264.sort(key=lambda codec: codec.parameters.get("profile-level-id") != "42e01f")
    return [*h264, *(codec for codec in codecs if codec.mimeType == "video/rtx")]


def _without_mdns(sdp: str) -> str:
    """The offer without `.local` candidates; and without end-of-candidates, because the address that counts is the
    one that the browser's first check comes from."""
    lines = re.split(r"\r\n|\n", sdp)
    kept = [
        line
        for line in lines
        if not (line.startswith("a=candidate:") and ".local" in line) and not line.startswith("a=end-of-candidates")
    ]
    return "\r\n".join(kept)
