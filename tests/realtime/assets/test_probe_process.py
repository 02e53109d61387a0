"""A file that kills or stops what reads it harms nobody."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from worldstream.realtime.assets.probe_process import ProbeProcess


@pytest.fixture
async def looking() -> AsyncIterator[ProbeProcess]:
    process = ProbeProcess()
    yield process
    await process.close()


def film(path: Path, frames: int = 5) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def bomb(path: Path, side: int) -> Path:
    """A PNG of a few kB that claims, and would unpack to, side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**7), 9)) + chunk(b"IEND", b"")
    )
    return path


async def test_files_are_looked_at_by_one_process(tmp_path: Path, looking: ProbeProcess) -> None:
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "a.png")
    film(tmp_path / "a.mp4")
    picture = await looking.probe(tmp_path / "a.png", "image")
    first = looking._process
    assert (picture.media_type, picture.width_px, picture.height_px) == ("image/png", 64, 48)
    found = await looking.probe(tmp_path / "a.mp4", "video")
    assert (found.media_type, round(found.seconds, 2)) == ("video/mp4", 0.2)
    assert looking._process is first


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "image"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image"),
        ("a.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(500), "video"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", "video"),
        ("a.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", "video"),
        ("a.gif", b"GIF89a" + b"\xff\xff\xff\xff" + bytes(100), "image"),
        ("a.wav", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + b"\xff" * 16, "audio"),
        ("empty", b"", "image|video|audio"),
        ("missing", None, "image"),
    ],
)
async def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, looking: ProbeProcess, name: str, content: bytes | None, wanted: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]{5,200}$"):
        await looking.probe(path, wanted)


async def test_a_picture_that_would_fill_the_memory(tmp_path: Path, looking: ProbeProcess) -> None:
    with pytest.raises(ValueError, match="pixels"):
        await looking.probe(bomb(tmp_path / "a.png", 60_000), "image")
    process = looking._process
    assert process is not None
    assert psutil.Process(process.pid).memory_info().rss < 400 * 2**20


@pytest.fixture
async def brittle(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProbeProcess]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    process = ProbeProcess(timeout_s=1.0, module="bad_probe")
    yield process
    await process.close()


async def test_a_crash_is_one_refusal(tmp_path: Path, brittle: ProbeProcess) -> None:
    assert (await brittle.probe(tmp_path / "fine", "image")).width_px == 4
    with pytest.raises(ValueError, match="damaged"):
        await brittle.probe(tmp_path / "crash", "image")
    assert (await brittle.probe(tmp_path / "fine", "image")).width_px == 4


async def test_a_hang_is_one_refusal(tmp_path: Path, brittle: ProbeProcess) -> None:
    with pytest.raises(ValueError, match="longer than 1 s"):
        await brittle.probe(tmp_path / "hang", "image")
    assert (await brittle.probe(tmp_path / "fine", "image")).width_px == 4


async def test_whoever_leaves_does_not_leave_an_answer_behind(tmp_path: Path, brittle: ProbeProcess) -> None:
    asking = asyncio.create_task(brittle.probe(tmp_path / "hang", "image"))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await brittle.probe(tmp_path / "fine", "image")).width_px == 4
