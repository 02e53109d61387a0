"""What an image file says of itself in its first bytes: format and size, read without decoding anything.

A file of a few kilobytes can claim billions of pixels. Reading the claim costs nothing; believing it costs the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# JPEG markers without a length: TEM, RST0-7, SOI. And those that start a frame: SOF0-15 without DHT, JPG, DAC.
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What people pick by mistake, and how it is named to them.
_OTHERS = (
    (b"GIF8", "a GIF"), (b"BM", "a BMP"), (b"II*\x00", "a TIFF"), (b"MM\x00*", "a TIFF"), (b"%PDF", "a PDF"),
    (b"\x00\x00\x01\x00", "an icon"), (b"8BPS", "a Photoshop file"), (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"), (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"), (b"PK\x03\x04", "a ZIP"),
    (b"qoif", "a QOI"), (b"\x1aE\xdf\xa3", "a WebM film"), (b"%!PS", "a PostScript file"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What a file claims."""

    format: str  # PNG, JPEG or WEBP
    width_px: int
    height_px: int


def read_header(data: bytes) -> Header | None:
    """Format and size of a PNG, JPEG or WebP; None where the bytes are none of them or end within the header."""
    if data.startswith(PNG_SIGNATURE):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def other_format(data: bytes) -> str | None:
    """The name, with its article, of a known format that is not read here; None for anything else."""
    for signature, name in _OTHERS:
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "an AVIF" if brand in (b"avif", b"avis") else "a HEIC" if brand[:2] in (b"he", b"mi") else "a film"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in start):
        return "an SVG drawing"
    return None


def _png(data: bytes) -> Header | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return Header("PNG", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))


def _jpeg(data: bytes) -> Header | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAME:
            frame = data[at + 5 : at + 9]
            return Header("JPEG", int.from_bytes(frame[2:]), int.from_bytes(frame[:2])) if len(frame) == 4 else None
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None


def _webp(data: bytes) -> Header | None:
    if len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        sides = (int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        sides = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    elif chunk == b"VP8 ":
        sides = (int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    else:
        return None
    return Header("WEBP", *sides)
