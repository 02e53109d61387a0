"""A barcode in the picture, for the latency benchmark: which frame is this, and which input does it answer?

24 blocks of width/24 x 16 px in the top left, black or white, read at their centres: that survives H.264 at 0.5 Mb/s.
Bits, first block first: 1 (always white), 12 of the frame number, 10 of the input id, 1 parity (even over all 24).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCKS = 24
HEIGHT_PX = 16
FRAME_BITS = 12
INPUT_BITS = 10


def draw(rgb: NDArray[np.uint8], frame: int, input_id: int) -> NDArray[np.uint8]:
    """A copy of `rgb` [H, W, 3] with the strip on it. Raises ValueError where the picture is too small."""
    height, width, _ = rgb.shape
    block_px = width // BLOCKS
    if block_px < 4 or height < HEIGHT_PX:
        raise ValueError(f"a stamp needs a picture of at least {4 * BLOCKS}x{HEIGHT_PX}, got {width}x{height}")
    bits = _bits(frame, input_id)  # [24]
    strip = np.repeat(bits * np.uint8(255), block_px)  # [24 * block_px]
    stamped = rgb.copy()
    stamped[:HEIGHT_PX, : BLOCKS * block_px] = strip[None, :, None]
    return stamped


def read(rgb: NDArray[np.uint8]) -> tuple[int, int] | None:
    """(frame modulo 4096, input id modulo 1024) of a decoded picture [H, W, 3]; None where there is no valid strip."""
    height, width, _ = rgb.shape
    block_px = width // BLOCKS
    if block_px < 4 or height < HEIGHT_PX:
        return None
    centres = np.arange(BLOCKS) * block_px + block_px // 2
    patch = rgb[HEIGHT_PX // 2 - 2 : HEIGHT_PX // 2 + 2, centres].astype(np.float32).mean(axis=(0, 2))  # [24]
    bits = (patch > 127.0).astype(np.uint8)
    if bits[0] != 1 or int(bits.sum()) % 2 != 0:
        return None
    return _number(bits[1 : 1 + FRAME_BITS]), _number(bits[1 + FRAME_BITS : -1])


def _bits(frame: int, input_id: int) -> NDArray[np.uint8]:
    text = f"1{frame % 2**FRAME_BITS:0{FRAME_BITS}b}{input_id % 2**INPUT_BITS:0{INPUT_BITS}b}"
    bits = [int(char) for char in text]
    return np.array([*bits, sum(bits) % 2], dtype=np.uint8)


def _number(bits: NDArray[np.uint8]) -> int:
    return int("".join(str(int(bit)) for bit in bits), 2)
