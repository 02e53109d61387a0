"""Media that clients name, received and looked at: https URLs, uploads, data: URIs. Satisfies services.Assets."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..blobs import suffix_of
from ..runway.errors import invalid
from ..services import Asset, Blobs
from .fetching import Fetcher
from .probe import Probe
from .uploads import UploadStore

OLD_S = 24 * 3600.0
Look = Callable[[Path, str], Awaitable[Probe]]  # raises ValueError in one line


class PlainAssets:
    """`fetcher` brings what a URL names, `look` says what a file is; `folder` holds what is on its way in."""

    def __init__(self, blobs: Blobs, uploads: UploadStore, folder: Path, fetcher: Fetcher, look: Look) -> None:
        self._blobs, self._uploads, self._folder = blobs, uploads, folder
        self._fetcher, self._look = fetcher, look

    async def gather(self, owner: str, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        """Raises ApiError, a 400 whose issue names `field` and the reason."""
        try:
            with self._passing() as path:
                await self._receive(owner, uri, wanted, path)
                found = await self._look(path, wanted)
                return await self._keep(path, found)
        except ValueError as error:
            raise invalid(field, f"Invalid asset: {error}.") from error

    async def _receive(self, owner: str, uri: str, wanted: str, path: Path) -> None:
        if uri.startswith("data:"):
            await asyncio.to_thread(decode_data_uri, uri, wanted, path)
        elif uri.startswith("runway://"):
            await self._uploads.fetch(owner, uri, path)
        elif uri.startswith(("https://", "http://")):
            await self._fetcher.fetch(uri, wanted, path)
        else:
            raise ValueError("only https URLs, runway:// uploads and data: URIs are taken")

    async def _keep(self, path: Path, found: Probe) -> Asset:
        size = (await asyncio.to_thread(path.stat)).st_size
        key = f"inputs/{uuid.uuid4()}{suffix_of(found.media_type)}"
        await self._blobs.put(key, path, found.media_type)
        return Asset(key, found.media_type, size, found.width_px, found.height_px, found.seconds)

    @contextmanager
    def _passing(self) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{uuid.uuid4()}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def sweep(folder: Path, now_s: float) -> None:
    """Remove what a server that was killed had on its way in. Blocks."""
    for path in folder.glob("*.part"):
        with suppress(FileNotFoundError):  # another server sweeps too
            if now_s - path.stat().st_mtime > OLD_S:
                path.unlink()


def decode_data_uri(uri: str, wanted: str, path: Path) -> None:
    """Write what a data URI holds. Blocks. Raises ValueError."""
    header, comma, body = uri[5:].partition(",")
    kind = header.split("/", 1)[0]
    if not comma or kind not in wanted.split("|"):
        raise ValueError(f"a data URI here begins with data:{wanted.replace('|', '/ or data:')}/")
    if not header.endswith(";base64"):
        raise ValueError("a data URI must be base64")
    try:
        data = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError("the base64 of the data URI is broken") from error
    if not data:
        raise ValueError("the data URI is empty")
    path.write_bytes(data)
