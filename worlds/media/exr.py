"""OpenEXR pictures: three half-float channels in scan lines, compressed without loss.

Source: "OpenEXR File Layout" of the OpenEXR documentation (version 2 files, ZIP compression of 16 lines).
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

LINES = 16  # of one compressed block
_ZIP = 3
MOST = 65504.0  # the largest half float


def exr(
    rgb: NDArray[np.float32],
    chromaticities: tuple[tuple[float, float], ...],
    white_nits: float | None = None,
    fps: Fraction | None = None,
    text: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a file with `rgb` `[H, W, 3]`, linear light in the primaries (red, green, blue, white) given.

    `white_nits` is the luminance of (1, 1, 1), where it has one. Values beyond half floats become the nearest.
    """
    height, width = rgb.shape[:2]
    half = np.clip(np.nan_to_num(rgb), -MOST, MOST).astype("<f2")
    planar = half[..., ::-1].transpose(0, 2, 1)  # [H, (B, G, R), W]: channels by name within each line
    blocks = [_block(planar[top : top + LINES]) for top in range(0, height, LINES)]
    header = _header(width, height, chromaticities, white_nits, fps, text or {})
    at = len(header) + 8 * len(blocks)
    offsets, chunks = [], []
    for index, block in enumerate(blocks):
        offsets.append(struct.pack("<Q", at))
        chunks.append(struct.pack("<ii", index * LINES, len(block)) + block)
        at += 8 + len(block)
    return b"".join([header, *offsets, *chunks])


def _block(lines: NDArray[np.float16]) -> bytes:
    """Low bytes and high bytes apart, differences to the one before, deflated; as it is where that is no smaller."""
    plain = lines.tobytes()
    raw = np.frombuffer(plain, np.uint8)
    apart = np.concatenate([raw[0::2], raw[1::2]])
    steps = apart.copy()
    steps[1:] = apart[1:] - apart[:-1] + np.uint8(128)
    packed = zlib.compress(steps.tobytes(), 4)
    return packed if len(packed) < len(plain) else plain


def _header(
    width: int, height: int, chromaticities: tuple[tuple[float, float], ...], white_nits: float | None,
    fps: Fraction | None, text: dict[str, str],
) -> bytes:  # fmt: skip
    channels = b"".join(name + b"\0" + struct.pack("<iBxxxii", 1, 0, 1, 1) for name in (b"B", b"G", b"R")) + b"\0"
    window = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    parts = [
        _attribute("channels", "chlist", channels),
        _attribute("chromaticities", "chromaticities", np.array(chromaticities, "<f4").tobytes()),
        _attribute("compression", "compression", bytes([_ZIP])),
        _attribute("dataWindow", "box2i", window),
        _attribute("displayWindow", "box2i", window),
        _attribute("lineOrder", "lineOrder", b"\0"),
        _attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        _attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0)),
        _attribute("screenWindowWidth", "float", struct.pack("<f", 1.0)),
    ]  # fmt: skip
    if white_nits is not None:
        parts.append(_attribute("whiteLuminance", "float", struct.pack("<f", white_nits)))
    if fps is not None:
        parts.append(_attribute("framesPerSecond", "rational", struct.pack("<iI", fps.numerator, fps.denominator)))
    parts += [_attribute(name, "string", value.encode()) for name, value in text.items()]
    return struct.pack("<II", 20000630, 2) + b"".join(parts) + b"\0"


def _attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value
