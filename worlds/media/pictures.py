"""Single pictures from files and to files: PNG, JPEG and WebP."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..image_header import read_header
from .limits import LIMITS, DeliveryError, Limits, MediaError, readable

QUALITY = 92  # of JPEG and WebP, 1 to 100
_MEDIA_TYPES = {"png": (".png", "image/png"), "jpeg": (".jpg", "image/jpeg"), "webp": (".webp", "image/webp")}
FORMATS = tuple(_MEDIA_TYPES)


def read_picture(path: Path, limits: Limits = LIMITS) -> NDArray[np.uint8]:
    """The picture of a PNG, JPEG or WebP file, `[H, W, 3]` sRGB, as it is meant to be seen.

    Its orientation and colour profile are applied, transparent places lie on grey, of an animation it is the first
    picture. Raises MediaError, or OSError.
    """
    from ..first_image import MAX_BYTES, shown  # which asks for ICC profiles

    with readable(path):
        if path.stat().st_size > MAX_BYTES:
            raise MediaError(f"it is larger than {MAX_BYTES >> 20} MiB; make it smaller")
        data = path.read_bytes()
        header = read_header(data)
        if header is None:
            raise MediaError("it is no PNG, JPEG or WebP picture; save it as one")
        limits.check_size(header.width_px, header.height_px)
        return shown(data)


def encode_picture(rgb: NDArray[np.uint8], format: str = "png", quality: int = QUALITY) -> bytes:
    """The bytes of a file. `quality` is 1 to 100; PNG has none, WebP at 100 is lossless. Raises DeliveryError."""
    if format not in _MEDIA_TYPES:
        raise DeliveryError(f"there is no picture format {format!r}; there are {', '.join(FORMATS)}")
    if not 1 <= quality <= 100:
        raise DeliveryError(f"the quality of a picture is 1 to 100, got {quality}")
    buffer = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    if format == "png":
        picture.save(buffer, "PNG")
    elif format == "jpeg":
        picture.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    else:
        picture.save(buffer, "WEBP", quality=quality, lossless=quality == 100)
    return buffer.getvalue()


def write_picture(
    path_without_suffix: Path, rgb: NDArray[np.uint8], format: str = "png", quality: int = QUALITY
) -> tuple[Path, str]:
    """Write `rgb` `[H, W, 3]` sRGB, whole or not at all; returns (path with its suffix, media type).

    Raises DeliveryError as `encode_picture`.
    """
    data = encode_picture(rgb, format, quality)
    suffix, media_type = _MEDIA_TYPES[format]
    path = path_without_suffix.with_name(path_without_suffix.name + suffix)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path, media_type
