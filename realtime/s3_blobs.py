"""Blobs in an S3-compatible store, e.g. `--blobs s3://bucket/prefix`. Credentials, region and endpoint come from the
usual environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import obstore
from obstore.store import S3Store

from .blobs import PIECE_BYTES, check_key

READ_BYTES = 4 * 2**20  # per request: a film seeks, and a request has a price


class S3Blobs:
    """Satisfies services.Blobs."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str] = os.environ) -> S3Blobs:
        """`s3://bucket/prefix`. Raises ValueError."""
        bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
        if not bucket:
            raise ValueError(f"{url!r} names no bucket")
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
        plain = endpoint.startswith("http://")  # a store of one's own, on one's own network
        store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={"allow_http": plain, "timeout": "60s", "connect_timeout": "10s"},
        )
        return cls(store)

    async def put(self, key: str, path: Path, media_type: str) -> None:
        """Move a file in, whole or not at all. Raises obstore's errors."""
        await obstore.put_async(self._store, check_key(key), path, attributes={"Content-Type": media_type})
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def fetch(self, key: str, path: Path) -> None:
        """A copy at `path`. Raises KeyError."""
        try:
            found = await obstore.get_async(self._store, check_key(key))
        except FileNotFoundError:
            raise KeyError(key) from None
        file = await asyncio.to_thread(path.open, "wb")
        try:
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                await asyncio.to_thread(file.write, piece)
        finally:
            await asyncio.to_thread(file.close)

    async def size(self, key: str) -> int:
        """Bytes. Raises KeyError."""
        try:
            return int((await obstore.head_async(self._store, check_key(key)))["size"])
        except FileNotFoundError:
            raise KeyError(key) from None

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `stop`, the last one excluded. Raises KeyError."""
        for begin in range(start, stop, READ_BYTES):
            end = min(stop, begin + READ_BYTES)
            try:
                yield bytes(await obstore.get_range_async(self._store, check_key(key), start=begin, end=end))
            except FileNotFoundError:
                raise KeyError(key) from None

    async def keys(self, prefix: str) -> AsyncIterator[tuple[str, float]]:
        """Every key that begins so, and when it was put in (Unix time)."""
        folder = prefix.rpartition("/")[0]  # a store lists by whole names
        async for some in obstore.list(self._store, folder or None, chunk_size=1000):
            for found in some:
                if found["path"].startswith(prefix):
                    yield found["path"], found["last_modified"].timestamp()

    async def remove(self, prefix: str) -> None:
        """Everything whose key begins so."""
        gone = [key async for key, _ in self.keys(prefix)]
        for start in range(0, len(gone), 1000):
            await obstore.delete_async(self._store, gone[start : start + 1000])
