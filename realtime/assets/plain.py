"""Media that clients name, received and looked at: https URLs, uploads, data: URIs. Satisfies services.Assets."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ..blobs import suffix_of
from ..runway.errors import invalid
from ..services import Asset, Blobs
from .probe import Probe, probe
from .uploads import UploadStore

MAX_URL_BYTES = {"image": 16 * 2**20, "video": 32 * 2**20, "audio": 32 * 2**20}
TIMEOUT_S = 20.0
Fetch = Callable[[str, Path, int], Awaitable[None]]  # url, where to, at most so many bytes; raises ValueError


class PlainAssets:
    """`fetch` brings an https URL; `folder` holds what is on its way in."""

    def __init__(self, blobs: Blobs, uploads: UploadStore, folder: Path, fetch: Fetch | None = None) -> None:
        self._blobs, self._uploads, self._folder = blobs, uploads, folder
        self._fetch = fetch or fetch_https

    async def gather(self, owner: str, uri: str, wanted: str, field: tuple[str | int, ...]) -> Asset:
        """Raises ApiError, a 400 whose issue names `field` and the reason."""
        try:
            with self._passing() as path:
                await self._receive(owner, uri, wanted, path)
                found = await asyncio.to_thread(probe, path, wanted)
                return await self._keep(path, found)
        except ValueError as error:
            raise invalid(field, f"Invalid asset: {error}.") from error

    async def _receive(self, owner: str, uri: str, wanted: str, path: Path) -> None:
        if uri.startswith("data:"):
            await asyncio.to_thread(decode_data_uri, uri, wanted, path)
        elif uri.startswith("runway://"):
            await self._uploads.fetch(owner, uri, path)
        elif uri.startswith("https://"):
            await self._fetch(uri, path, max(MAX_URL_BYTES[kind] for kind in wanted.split("|")))
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


async def fetch_https(url: str, path: Path, most_bytes: int) -> None:
    """Bring a file. Redirects are refused. Raises ValueError."""
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream("GET", url, headers={"User-Agent": "worldstream"}) as answer,
        ):
            if answer.is_redirect:
                raise ValueError("the URL redirects, which is not followed")
            if answer.status_code != 200:
                raise ValueError(f"the URL answered {answer.status_code}")
            total = 0
            with await asyncio.to_thread(path.open, "wb") as file:
                async for piece in answer.aiter_bytes(65536):
                    total += len(piece)
                    if total > most_bytes:
                        raise ValueError(f"it is larger than {most_bytes} bytes")
                    await asyncio.to_thread(file.write, piece)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"the URL could not be fetched ({type(error).__name__})") from error
