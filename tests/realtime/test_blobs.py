"""Files by key: the same behaviour in a folder and in an S3 store (moto's, in a process of its own)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.blob_place import open_blobs
from worldstream.realtime.blobs import (
    MEDIA_TYPES,
    OPAQUE,
    FolderBlobs,
    check_key,
    media_type_of,
    suffix_of,
)
from worldstream.realtime.s3_blobs import S3Blobs
from worldstream.realtime.services import Blobs


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment that leads to a store with a bucket."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "moto did not start"
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        url = found[0]
        made = urllib.request.Request(f"{url}/bucket", method="PUT")
        with urllib.request.urlopen(made, timeout=20.0) as answer:
            assert answer.status == 200
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "folder":
        return open_blobs("", tmp_path)
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return open_blobs(f"s3://bucket/{uuid4()}", tmp_path)


async def put(blobs: Blobs, folder: Path, key: str, content: bytes) -> None:
    file = folder / uuid4().hex
    file.write_bytes(content)
    await blobs.put(key, file, media_type_of(key))
    assert not file.exists()  # moved


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return sorted([key async for key, _ in blobs.keys(prefix)])


async def test_files_go_in_and_come_out(blobs: Blobs, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000  # more than one piece
    await put(blobs, tmp_path, "outputs/a/1/0.mp4", content)
    assert await blobs.size("outputs/a/1/0.mp4") == len(content)
    assert await whole(blobs.read("outputs/a/1/0.mp4", 0, len(content))) == content
    assert await whole(blobs.read("outputs/a/1/0.mp4", 300_000, 300_007)) == content[300_000:300_007]
    await blobs.fetch("outputs/a/1/0.mp4", tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == content
    found = [put_s async for _, put_s in blobs.keys("outputs/")]
    assert abs(found[0] - time.time()) < 60.0


async def test_what_is_not_there_is_a_key_error(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await blobs.size("outputs/none")
    with pytest.raises(KeyError):
        await blobs.fetch("outputs/none", tmp_path / "copy")
    with pytest.raises(KeyError):
        await whole(blobs.read("outputs/none", 0, 10))
    assert not (tmp_path / "copy").exists()
    await blobs.remove("outputs/none/")
    assert await keys(blobs, "outputs/") == []


async def test_everything_that_begins_so_is_removed(blobs: Blobs, tmp_path: Path) -> None:
    for key in ("outputs/a/1/0.mp4", "outputs/a/2/0.mp4", "outputs/ab/1/0.mp4", "inputs/x.png"):
        await put(blobs, tmp_path, key, b"x")
    assert await keys(blobs, "outputs/a") == ["outputs/a/1/0.mp4", "outputs/a/2/0.mp4", "outputs/ab/1/0.mp4"]
    await blobs.remove("outputs/a/")
    assert await keys(blobs) == ["inputs/x.png", "outputs/ab/1/0.mp4"]
    await blobs.remove("inputs/x.png")
    assert await keys(blobs) == ["outputs/ab/1/0.mp4"]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a\\b", "a\0", "ä", "a/."]
)
async def test_no_key_leads_elsewhere(blobs: Blobs, tmp_path: Path, key: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(ValueError, match="is not a key"):
        await blobs.put(key, file, "video/mp4")
    with pytest.raises(ValueError, match="is not a key"):
        await blobs.size(key)


@given(st.text(max_size=40))
def test_every_key_stays_inside(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    assert os.path.normpath(f"/blobs/{key}") == f"/blobs/{key}"


def test_types_and_suffixes() -> None:
    assert suffix_of("video/mp4; codecs=avc1") == ".mp4"
    assert suffix_of("text/html") == suffix_of("image/svg+xml") == ".bin"
    assert media_type_of("outputs/a/0.html") == media_type_of("outputs/a/0") == OPAQUE
    assert all(suffix_of(media_type_of(f"x{suffix}")) == suffix for suffix in MEDIA_TYPES)


async def test_a_folder_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved by copying, then all at once; a copy that breaks off leaves nothing to see."""
    blobs = FolderBlobs(tmp_path / "blobs")
    replace, copy = Path.replace, shutil.copyfile

    def elsewhere(self: Path, target: Path) -> Path:
        if not self.name.startswith(".part"):
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    def breaks(source: Path, target: Path) -> None:
        copy(source, target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", elsewhere)
    await put(blobs, tmp_path, "outputs/a.mp4", b"content")
    assert await whole(blobs.read("outputs/a.mp4", 0, 7)) == b"content"
    monkeypatch.setattr(shutil, "copyfile", breaks)
    with pytest.raises(OSError, match="No space"):
        await put(blobs, tmp_path, "outputs/b.mp4", b"content")
    assert await keys(blobs) == ["outputs/a.mp4"]
    assert sorted(path.name for path in (tmp_path / "blobs" / "outputs").iterdir()) == ["a.mp4"]


async def test_removing_and_putting_at_once(tmp_path: Path) -> None:
    """Empty folders are cleared away under the hands of whoever puts files into them."""
    blobs = FolderBlobs(tmp_path / "blobs")

    async def busy(number: int) -> None:
        for turn in range(25):
            await put(blobs, tmp_path, f"outputs/t/{number}-{turn}.mp4", b"x")
            await blobs.remove(f"outputs/t/{number}-{turn}.mp4")

    await asyncio.gather(*(busy(number) for number in range(4)))
    assert await keys(blobs) == []


def test_addresses_of_blobs(tmp_path: Path) -> None:
    for url in ("s3://", "ftp://x", "/somewhere"):
        with pytest.raises(ValueError, match="bucket"):
            open_blobs(url, tmp_path)
    assert isinstance(open_blobs("s3://bucket", tmp_path), S3Blobs)
