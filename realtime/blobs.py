"""Files by key: in a folder of this machine, or in an S3-compatible store (s3_blobs.py).

A key is a path of plain names, e.g. `outputs/<task>/1/0.mp4`. A file is never changed once it is in: another content
is another key.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 256 * 1024
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){0,9}")
SUFFIXES = {
    "video/mp4": ".mp4", "video/quicktime": ".mov", "video/webm": ".webm", "video/x-matroska": ".mkv",
    "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/x-exr": ".exr",
    "audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/flac": ".flac", "audio/ogg": ".ogg", "audio/aac": ".aac",
    "audio/mp4": ".m4a", "application/zip": ".zip", "application/json": ".json", "text/plain": ".txt",
    "text/vtt": ".vtt",
}  # fmt: skip
MEDIA_TYPES = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
OPAQUE = "application/octet-stream"


def suffix_of(media_type: str) -> str:
    """How the key of such a file ends; what a job names a file decides nothing."""
    return SUFFIXES.get(media_type.partition(";")[0].strip().lower(), ".bin")


def media_type_of(key: str) -> str:
    """What a browser may be told that a blob is: never a type that could run scripts."""
    return MEDIA_TYPES.get(Path(key).suffix, OPAQUE)


def check_key(key: str) -> str:
    """`key` itself. Raises ValueError on anything but a path of plain names."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:100]!r} is not a key of a blob")
    return key


class FolderBlobs:
    """Satisfies services.Blobs. All work is done in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, path: Path, media_type: str) -> None:
        """Move a file in, whole or not at all. Raises OSError, e.g. where the disk is full."""
        await asyncio.to_thread(self._put, self._folder / check_key(key), path)

    def _put(self, target: Path, path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # the database is going to say that it is there
        while True:
            with suppress(FileNotFoundError):  # somebody removed the empty folder just now
                _make_folder(target.parent)
                return _move(path, target)

    async def fetch(self, key: str, path: Path) -> None:
        """A hard link at `path` where the file system has them, else a copy. Raises KeyError."""
        await asyncio.to_thread(self._fetch, key, path)

    def _fetch(self, key: str, path: Path) -> None:
        source = self._folder / check_key(key)
        try:
            os.link(source, path)
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError:
            shutil.copyfile(source, path)

    async def size(self, key: str) -> int:
        """Bytes. Raises KeyError."""
        return await asyncio.to_thread(self._size, key)

    def _size(self, key: str) -> int:
        try:
            return (self._folder / check_key(key)).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(key) from None

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `stop`, the last one excluded. Raises KeyError."""
        file = await asyncio.to_thread(self._opened, key, start)
        try:
            while start < stop:
                piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, stop - start))
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            file.close()

    def _opened(self, key: str, start: int) -> BinaryIO:
        try:
            file = (self._folder / check_key(key)).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None
        file.seek(start)
        return file

    async def keys(self, prefix: str) -> AsyncIterator[tuple[str, float]]:
        """Every key that begins so, and when its file was put in (Unix time)."""
        for key, put_s in await asyncio.to_thread(self._keys, prefix):
            yield key, put_s

    def _keys(self, prefix: str) -> list[tuple[str, float]]:
        found = []
        for folder, _, names in os.walk(self._folder / Path(prefix).parent if "/" in prefix else self._folder):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._folder).as_posix()
                if key.startswith(prefix) and not name.startswith("."):
                    with suppress(FileNotFoundError):
                        found.append((key, path.stat().st_ctime))  # moving in keeps the time of writing
        return sorted(found)

    async def remove(self, prefix: str) -> None:
        """Everything whose key begins so."""
        await asyncio.to_thread(self._remove, prefix)

    def _remove(self, prefix: str) -> None:
        for key, _ in self._keys(prefix):
            path = self._folder / key
            path.unlink(missing_ok=True)
            with suppress(OSError):  # until one that is not empty
                for folder in path.relative_to(self._folder).parents:
                    if folder != Path():
                        (self._folder / folder).rmdir()

    async def sweep(self) -> None:
        """Remove what a copy that was broken off left. For the start of a server."""
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        for path in self._folder.rglob(".part-*"):
            path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """With its parents. Raises FileExistsError where a file has its name, FileNotFoundError where others remove it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # it was there, and when mkdir looked what it is, it was gone
        if folder.is_file():
            raise
        raise FileNotFoundError(str(folder)) from error


def _move(path: Path, target: Path) -> None:
    try:
        path.replace(target)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or not path.exists():
            raise
        part = target.with_name(f".part-{secrets.token_hex(8)}")  # another file system: copied, then moved at once
        try:
            shutil.copyfile(path, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        path.unlink()
