"""Everything that can go wrong between a socket and the model.

    WorldstreamError                 any of ours; `status` for HTTP, `close_code` for the WebSocket, `code` for programs
    ├── StartupError                 the server cannot start: one line on stderr, exit code 1
    │   ├── PortInUse                another program listens there
    │   └── DataFolderError          the data folder cannot be written
    ├── ClientError                  the other side's fault
    │   ├── MalformedMessage         not a message of the protocol
    │   │   ├── WrongVersion         a protocol version that this server does not speak
    │   │   └── MessageTooLarge      more bytes than any honest message has
    │   ├── BadOffer                 SDP that cannot be answered
    │   ├── ForbiddenOrigin          a page of another site
    │   ├── BadImage                 a file that cannot start a world
    │   │   └── ImageTooLarge        more bytes than a picture may have
    │   ├── HelloTooLate             a socket that did not say hello in time
    │   ├── TurnLost                 hidden for too long while somebody waited
    │   ├── NotPlayer                only the player may do that
    │   ├── NoSuchMoment             a moment or branch that the walk does not have
    │   ├── NoSuchLog                a log that is not kept, or no longer
    │   └── BadLog                   a file that cannot be played
    └── ServerError                  this side's fault
        ├── TooManySessions          the house is full
        ├── ImagesBusy               too many pictures arrive at once, or none can be looked at
        ├── ServerStopping           the process is going down
        └── SessionFailed            something broke inside one session; the id finds it in the log

The text of each is written for the person who reads it in the page: `message` says what happened, `remedy` what to do.
"""

from __future__ import annotations

import secrets
from typing import ClassVar


class WorldstreamError(Exception):
    """Any error of the realtime layer. `id` is short, random, and also written to the log."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    close_code: ClassVar[int] = 4500
    remedy: str = "Reload the page."

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.id = secrets.token_hex(4)


class StartupError(WorldstreamError):
    """The server cannot start."""

    code = "startup"
    remedy = "Change the setting that the message names."


class PortInUse(StartupError):
    """Another program listens on the address."""

    code = "port_in_use"
    remedy = "Stop the other program or choose another --port."


class DataFolderError(StartupError):
    """The data folder cannot be created or written."""

    code = "data_folder"
    remedy = "Choose a folder that you may write with --data."


class ClientError(WorldstreamError):
    """The other side's fault."""

    code = "bad_request"
    status = 400
    close_code = 4400
    remedy = "Check the message against docs/protocol.md."


class MalformedMessage(ClientError):
    """Not a message of the protocol."""

    code = "malformed"


class WrongVersion(MalformedMessage):
    """A protocol version that this server does not speak."""

    code = "wrong_version"
    close_code = 4401
    remedy = "Reload the page: its files are older or newer than this server."


class MessageTooLarge(MalformedMessage):
    """More bytes than any honest message has."""

    code = "too_large"
    status = 413
    close_code = 4413
    remedy = "Send smaller messages: 16 KiB is the limit."


class BadOffer(ClientError):
    """SDP that cannot be answered."""

    code = "bad_offer"
    remedy = "Offer one recvonly H.264 video transceiver and a data channel named control, or use the WebSocket."


class ForbiddenOrigin(ClientError):
    """A page of another site."""

    code = "forbidden_origin"
    status = 403
    remedy = "Open the page from this server, or name the other site in WORLDSTREAM_ORIGINS."


class BadImage(ClientError):
    """A file that cannot start a world; what is wrong decides the remedy."""

    code = "bad_image"

    def __init__(self, message: str, remedy: str = "Choose a PNG, JPEG or WebP picture.") -> None:
        super().__init__(message)
        self.remedy = remedy


class ImageTooLarge(BadImage):
    """More bytes than a picture may have."""

    code = "image_too_large"
    status = 413


class HelloTooLate(ClientError):
    """A socket that did not say hello in time."""

    code = "hello_too_late"
    status = 408
    close_code = 4408
    remedy = "Send hello as the first message, within 5 seconds."


class TurnLost(ClientError):
    """Hidden for too long while somebody waited."""

    code = "turn_lost"
    status = 409
    close_code = 4409
    remedy = "Keep the page visible while you play; you are in line again."


class NotPlayer(ClientError):
    """Only the player may do that."""

    code = "not_player"
    status = 403
    remedy = "Wait for your turn; whoever watches sees what the player does."


class NoSuchMoment(ClientError):
    """A moment or branch that the walk does not have."""

    code = "no_such_moment"
    status = 404
    remedy = "Choose one that the timeline names."


class NoSuchLog(ClientError):
    """A log that is not kept, or no longer."""

    code = "no_such_log"
    status = 404
    remedy = "Ask whoever walked for the log's file: the page opens it, and `worldstream replay` too."


class BadLog(ClientError):
    """A file that cannot be played."""

    code = "bad_log"
    remedy = "Choose the log that the page let you keep, whole and unchanged."


class ServerError(WorldstreamError):
    """This side's fault."""

    code = "server_error"


class TooManySessions(ServerError):
    """The house is full."""

    code = "too_many_sessions"
    status = 429
    close_code = 4429
    remedy = "Try again in a minute."


class ImagesBusy(ServerError):
    """Too many pictures arrive at once, or none can be looked at."""

    code = "images_busy"
    status = 503
    remedy = "Try again in a minute, or enter with words alone."


class SlowBody(ClientError):
    """A request that does not arrive."""

    code = "too_slow"
    status = 408
    remedy = "Send it again, in one go."


class ServerBusy(ServerError):
    """Requests together would take more memory than they may."""

    code = "busy"
    status = 503
    remedy = "Send it again in a moment."


class ServerStopping(ServerError):
    """The process is going down."""

    code = "server_stopping"
    status = 503
    close_code = 1001
    remedy = "Wait until the server is back, then reload the page."


class SessionFailed(ServerError):
    """Something broke inside one session."""

    code = "session_failed"
