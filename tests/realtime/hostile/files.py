"""Files that nobody should have to open, made here: small ones that claim to be huge, and others in disguise."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import wave
import zipfile
import zlib
from dataclasses import dataclass

import av
import numpy as np

from tests.realtime.runway.media import film, picture

SCRIPT = b"<script>fetch('http://169.254.169.254/')</script>"
GB = 2**30


@dataclass(frozen=True)
class Hostile:
    """A file, what it says that it is, and what a task would take it for."""

    name: str
    content: bytes
    media_type: str
    wanted: str  # image, video or audio

    def __str__(self) -> str:
        return self.name


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, rows: bytes = b"\0" * 1000) -> bytes:
    """A grey PNG that claims this size, with chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@functools.cache
def zeros(size: int) -> bytes:
    """So many zeros, deflated."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20))
    return packed + packer.flush()


def gif(width: int, height: int, frames: int = 1) -> bytes:
    """Frames as small as can be."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\0\0\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * frames + b";"


def webp(width: int, height: int) -> bytes:
    """An animation's canvas without pictures."""
    canvas = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0" + struct.pack(">H", 11) + frame + b"\xff\xd9"


def patched(content: bytes, box: bytes, offset: int, value: int) -> bytes:
    """An MP4 with 32 bits changed in every `box`, `offset` bytes after its name."""
    found, at = bytearray(content), -1
    while (at := found.find(box, at + 1)) >= 0:
        found[at + 4 + offset : at + 8 + offset] = struct.pack(">I", value)
    return bytes(found)


@functools.cache
def vp8(width: int, height: int) -> bytes:
    """A WebM of one small picture whose own header claims another size; so does the container's."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())
    sizes = struct.pack("<HH", width, height)
    return file.getvalue().replace(b"\x9d\x01\x2a" + struct.pack("<HH", 64, 64), b"\x9d\x01\x2a" + sizes)


def wav(rate_hz: int, size: int, claims: int = 0) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(rate_hz)
        sound.writeframes(b"\x80" * size)
    found = bytearray(file.getvalue())
    if claims:
        found[40:44] = struct.pack("<I", claims)
    return bytes(found)


def zipped(name: str, content: bytes, depth: int = 1) -> bytes:
    for level in range(depth):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name if level == 0 else "inner.zip", content)
        content = file.getvalue()
    return content


SVG = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY y "&x;&x;&x;">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="alert(1)">'
    + SCRIPT
    + b"<text>&y;</text></svg>"
)
HLS = (
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n"
    b"#EXTINF:9,\nhttp://169.254.169.254/latest/meta-data.ts\n#EXTINF:9,\nconcat:/etc/passwd|/etc/hosts\n#EXT-X-ENDLIST\n"
)
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\nfile http://169.254.169.254/\nfile /dev/zero\n"
DASH = (
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    b'<Representation id="1" mimeType="video/mp4" bandwidth="1"><BaseURL>file:///etc/passwd</BaseURL>'
    b"</Representation></AdaptationSet></Period></MPD>"
)


def pictures() -> list[Hostile]:
    text, profile = b"Comment\0\0" + zeros(256 * 2**20), b"x\0\0" + zeros(256 * 2**20)
    entries = {
        "png of 60000 x 60000": (png(60_000, 60_000), "png"),
        "png of 1 x 2 billion": (png(1, 2_000_000_000), "png"),
        "png of no size": (png(0, 0), "png"),
        "png with 256 MiB of comment": (png(8, 8, chunk(b"zTXt", text)), "png"),
        "png with 256 MiB of profile": (png(8, 8, chunk(b"iCCP", profile)), "png"),
        "png that ends in its header": (picture()[:20], "png"),
        "gif of 65535 x 65535": (gif(65_535, 65_535), "gif"),
        "gif of 20000 frames": (gif(2000, 2000, 20_000), "gif"),
        "webp of 16384 x 16384": (webp(16_384, 16_384), "webp"),
        "jpeg of 65500 x 65500": (jpeg(65_500, 65_500), "jpeg"),
        "svg with a script": (SVG, "svg+xml"),
        "svg that says png": (SVG, "png"),
        "zip": (zipped("picture.png", picture()), "png"),
        "zip in a zip in a zip": (zipped("zeros", bytes(16 * 2**20), 3), "png"),
        "gif and javascript": (b"GIF89a/*" + gif(8, 8)[6:] + b"*/=1;alert(1)", "jpeg"),
        "html": (b"<!doctype html>" + SCRIPT, "png"),
        "pdf and picture": (b"%PDF-1.7\n" + picture(), "png"),
        "font": (b"\0\1\0\0\0\x0f\0\x80" + bytes(500), "png"),
        "a film": (film(), "png"),
        "gzip": (gzip.compress(picture()), "webp"),
        "nothing but zeros": (bytes(5000), "png"),
    }
    return [Hostile(name, content, f"image/{kind}", "image") for name, (content, kind) in entries.items()]


def films() -> list[Hostile]:
    good = film()
    entries = {
        "mp4 with a billion samples": patched(good, b"stsz", 8, 0x3FFF_FFFF),
        "mp4 with a billion chunks": patched(patched(good, b"stco", 4, 0x3FFF_FFFF), b"stsc", 4, 0x3FFF_FFFF),
        "mp4 without its index": good[: good.find(b"moov") - 4],
        "mp4 cut short": good[: len(good) // 2],
        "hls playlist": HLS,
        "concat playlist": CONCAT,
        "dash manifest": DASH,
        "gif of 65535 x 65535": gif(65_535, 65_535),
        "svg": SVG,
        "sound alone": wav(8000, 8000),
        "a picture": picture(),
        "zip": zipped("film.mp4", good),
    }
    return [Hostile(name, content, "video/mp4", "video") for name, content in entries.items()]


def sounds() -> list[Hostile]:
    entries = {
        "wav of hours": wav(1, 20_000),
        "playlist": HLS,
        "concat": CONCAT,
        "wav that ends in its header": wav(8000, 8000)[:30],
        "text": b"It was a dark and stormy night. " * 40,
        "zip": zipped("sound.wav", wav(8000, 800)),
    }
    return [Hostile(name, content, "audio/wav", "audio") for name, content in entries.items()]


def broken_inside() -> list[Hostile]:
    """Well formed at the beginning: only decoding tells."""
    film_bytes = bytearray(film())
    start = film_bytes.find(b"mdat") + 4
    film_bytes[start : start + 4000] = b"\xff" * min(4000, len(film_bytes) - start)
    return [
        Hostile("png whose pixels break off", picture(200, 200)[:-400], "image/png", "image"),
        Hostile("png of 30 million pixels that are not there", png(6000, 5000), "image/png", "image"),
        Hostile("wav that claims 4 GB", wav(8000, 100, 0xFFFF_FFF0), "audio/wav", "audio"),
        Hostile("film of noise", bytes(film_bytes), "video/mp4", "video"),
        Hostile("film of two frames, days apart", patched(film(), b"stts", 12, 0x00FF_FFFF), "video/mp4", "video"),
        Hostile("film whose pictures are 16383 x 16383", vp8(16_383, 16_383), "video/webm", "video"),
    ]
