"""What the offline half of the server shares: one of each, handed to the routes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .store.database import Database
from .tasks import TaskBoard


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an API key, or anybody on this machine where there are no keys."""

    key: str  # id of the key: a UUID 4; tasks and everything kept belong to it
    name: str = ""


class Authority(Protocol):
    """Decides who may do what."""

    async def admit(self, secret: str | None, scope: str) -> Caller:
        """The caller behind a bearer token. Raises runway.errors.ApiError, 401 or 403."""
        ...

    async def charge(self, caller: Caller, model: str, credits: int) -> None:
        """Before a task is created. Raises ApiError: 400 where credits are short, 429 over a quota or cap."""
        ...

    async def note(self, caller: Caller, action: str, resource: str, resource_id: str) -> None:
        """Into the audit log."""
        ...


HOUSEHOLD = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a client gave, received and found to be what it should be."""

    blob: str  # key in the blobs
    media_type: str
    bytes: int
    width_px: int = 0  # of pictures and videos
    height_px: int = 0
    seconds: float = 0.0  # of videos and sounds


class Assets(Protocol):
    """Media that clients name: https, runway:// or data: URIs."""

    async def gather(self, owner: str, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        """Receive and check it. `wanted` is image, video or audio, several joined by "|". Raises ApiError, a 400 whose
        issue names `field` and the reason."""
        ...


class Blobs(Protocol):
    """Files by key, e.g. `outputs/<task>/0.mp4`, in a folder or an S3-compatible store."""

    async def put(self, key: str, path: Path, media_type: str) -> None:
        """Move a file in, whole or not at all."""
        ...

    async def fetch(self, key: str, path: Path) -> None:
        """A copy (or a hard link) at `path`. Raises KeyError."""
        ...

    async def size(self, key: str) -> int:
        """Bytes. Raises KeyError."""
        ...

    def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `stop`, the last one excluded, in pieces. Raises KeyError."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[tuple[str, float]]:
        """Every key that begins so, and when its file was put in (Unix time)."""
        ...

    async def remove(self, prefix: str) -> None:
        """Everything whose key begins so."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to every route as `request.app.state.services`."""

    database: Database
    tasks: TaskBoard
    assets: Assets
    blobs: Blobs
    authority: Authority
    data: Path
    clock: Callable[[], float]  # Unix time
    public_url: str = ""  # how clients reach this server, without a slash at the end; empty: by the request's Host
    signing_secret: bytes = b""

    def base_url(self, host: str | None, scheme: str = "http") -> str:
        return self.public_url or f"{scheme}://{host or 'localhost'}"


def retry_mark(owner: str, path: str, body: bytes) -> str:
    """What tells a client's second try of one request from another request."""
    return hashlib.sha256(b"\0".join([owner.encode(), path.encode(), body])).hexdigest()
