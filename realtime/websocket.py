"""The WebSocket driver: `GET /api/socket`. Text frames carry the protocol, binary frames carry pictures.

The outbox is short on purpose. JPEG pictures replace one another: a slow line sees fewer of them, but never an old one.
H.264 pictures build on each other, so a slow line jumps to the next key frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from .checks import Message
from .config import SessionConfig, VideoConfig
from .conversation import receive
from .errors import HelloTooLate, MalformedMessage, WorldstreamError
from .keyframe_gate import KeyframeGate
from .lobby import Lobby
from .mailbox import Drawn
from .protocol import KIND_H264, KIND_JPEG, ErrorMessage, Hello, Picture, decode_client, encode, encode_picture
from .session import Codec, Session

logger = logging.getLogger(__name__)

GONE = (WebSocketDisconnect, RuntimeError, OSError)  # what sending to a closed socket raises, by Starlette's state
MAX_WAITING_MESSAGES = 256  # a line that is this far behind is dead


class SocketLink:
    """The line to one user over a WebSocket. `Link` of session.py."""

    def __init__(self, codec: Codec, queue_frames: int, want_keyframe: Callable[[], None]) -> None:
        self.codec: Codec = codec
        self.dropped = 0
        self.bandwidth_bps: int | None = None  # TCP tells us nothing
        self._queue_frames = queue_frames
        self._gate = KeyframeGate(want_keyframe)  # of H.264
        self._messages: deque[str] = deque()
        self._pictures: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._close: tuple[int, str] | None = None

    def send(self, message: Message) -> None:
        if len(self._messages) >= MAX_WAITING_MESSAGES:
            self._close = self._close or (1001, "too slow")
        elif self._close is None:
            self._messages.append(encode(message))
        self._wake.set()

    def show(self, drawn: Drawn, input_id: int) -> None:
        if self._close is not None:
            return
        if self.codec == "jpeg" and drawn.jpeg is not None:
            self.dropped += len(self._pictures)
            self._pictures.clear()
            self._queue(drawn, input_id, KIND_JPEG, drawn.jpeg, keyframe=True)
        elif self.codec == "h264" and drawn.h264 is not None:
            self._show_h264(drawn, input_id, drawn.h264.data, drawn.h264.keyframe)

    def _show_h264(self, drawn: Drawn, input_id: int, data: bytes, keyframe: bool) -> None:
        if len(self._pictures) >= self._queue_frames:
            self.dropped += len(self._pictures)
            self.skip()
        if not self._gate.lets(keyframe):
            self.dropped += 1
            return
        self._queue(drawn, input_id, KIND_H264, data, keyframe)

    def _queue(self, drawn: Drawn, input_id: int, kind: int, payload: bytes, keyframe: bool) -> None:
        picture = Picture(kind, keyframe, drawn.frame, input_id, drawn.server_ms, drawn.media_time_s, payload)
        self._pictures.append(encode_picture(picture))
        self._wake.set()

    def skip(self) -> None:
        self._pictures.clear()
        self._gate.close()

    def close(self, error: WorldstreamError | None) -> None:
        if self._close is None:
            self._close = (1000, "bye") if error is None else (error.close_code, error.message[:100])
        self._pictures.clear()
        self._wake.set()

    async def drain(self, socket: WebSocket) -> None:
        """Send what is queued until the line closes. Returns after the close frame; raises when the peer is gone."""
        while True:
            while self._messages:
                await socket.send_text(self._messages.popleft())
            if self._pictures:
                await socket.send_bytes(self._pictures.popleft())
            elif self._close is not None:
                code, reason = self._close
                await socket.close(code, reason)
                return
            else:
                self._wake.clear()
                await self._wake.wait()


async def serve_socket(socket: WebSocket, lobby: Lobby, sessions: SessionConfig, video: VideoConfig) -> None:
    """One visitor, from handshake to goodbye."""
    await socket.accept()
    try:
        hello = await _hello(socket, sessions.hello_timeout_s)
        codec: Codec = "h264" if hello.codec == "h264" else "jpeg"
        link = SocketLink(codec, video.queue_frames, lobby.want_keyframe)
        session = lobby.admit(hello, link)
    except WebSocketDisconnect:
        return
    except WorldstreamError as error:
        await _turn_away(socket, error)
        return
    writer = asyncio.create_task(link.drain(socket), name=f"socket-writer-{session.id}")
    reader = asyncio.create_task(_listen(socket, lobby, session), name=f"socket-reader-{session.id}")
    try:
        lobby.enter(session)
        # The writer ends when it has sent a close frame, the reader when the peer is gone.
        await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lobby.leave(session)
        writer.cancel()
        reader.cancel()
        for result in await asyncio.gather(writer, reader, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, GONE):
                logger.error("socket of session %s failed", session.id, exc_info=result)


async def _hello(socket: WebSocket, timeout_s: float) -> Hello:
    """The first message. Raises HelloTooLate, MalformedMessage and its kinds, or WebSocketDisconnect."""
    try:
        raw = await asyncio.wait_for(_text(socket), timeout_s)
    except TimeoutError:
        raise HelloTooLate(f"No hello within {timeout_s:g} seconds.") from None
    message = decode_client(raw)
    if not isinstance(message, Hello):
        raise MalformedMessage(f"the first message must be hello, not {message.TYPE}")
    return message


async def _listen(socket: WebSocket, lobby: Lobby, session: Session) -> None:
    """Hand every message to the conversation until the peer is gone."""
    while True:
        receive(lobby, session, await _text(socket))


async def _text(socket: WebSocket) -> str:
    """The next message as text; binary becomes text that no message can be. Raises WebSocketDisconnect."""
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1006))
    text = event.get("text")
    return text if isinstance(text, str) else "(binary)"


async def _turn_away(socket: WebSocket, error: WorldstreamError) -> None:
    """Say why, then close: for visitors who never became a session."""
    message = ErrorMessage(code=error.code, message=error.message, remedy=error.remedy, fatal=True, id=error.id)
    with suppress(*GONE):
        await socket.send_text(encode(message))
        await socket.close(error.close_code, error.message[:100])
