"""The picture that a walk began from, inside the walk's log: a log is all that its replay needs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .action_log import ActionLogError, LogHeader
from .core import World
from .first_image import FirstImage, ImageError, checked, decoded

MOST_BYTES_A_PIXEL = 4  # of a PNG: as much as RGBA without any compression
SPARE_BYTES = 64 * 1024  # for what a PNG holds beside its pixels


def to_text(rgb: NDArray[np.uint8]) -> str:
    """Pixels `uint8[H, W, 3]` as a PNG in base 64."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def kept_image(header: LogHeader, world: World) -> FirstImage | None:
    """The picture in a log's header; None where there is none.

    Raises ActionLogError when it is damaged or not of the world's size: looked at before anything is decoded.
    """
    if header.image_png is None:
        return None
    try:
        image = decoded(_png(header.image_png, world), world.width_px, world.height_px)
    except ImageError as error:
        raise ActionLogError(f"the log's picture cannot be read ({error.problem}); the log is damaged") from error
    if image.sha256 != header.image_sha256:
        raise ActionLogError("the log's picture is not the one that its header names; the log is damaged")
    return image


def whole_image(header: LogHeader, world: World) -> FirstImage | None:
    """As `kept_image`, where nobody can be asked for the picture: raises ActionLogError also when it is missing."""
    image = kept_image(header, world)
    if image is None and header.image_sha256 is not None:
        raise ActionLogError(
            f"the log's world began from a picture ({header.image_sha256[:12]}) that is not in it; "
            "`worldstream replay` can be given its file with --image"
        )
    return image


def _png(text: str, world: World) -> bytes:
    """The file in `text`, looked at but not decoded. Raises ActionLogError or ImageError."""
    wanted = f"{world.width_px} x {world.height_px}"
    most_chars = 4 * (MOST_BYTES_A_PIXEL * world.width_px * world.height_px + SPARE_BYTES) // 3
    if len(text) > most_chars:
        raise ActionLogError(f"the log's picture takes {len(text)} characters, more than one of {wanted} pixels needs")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:  # also text that is not ASCII
        raise ActionLogError("the log's picture is not written in base 64; the log is damaged") from error
    found = checked(data)
    if found.format != "PNG":
        raise ActionLogError(f"the log's picture is a {found.format}, not a PNG; the log is damaged")
    if (found.width_px, found.height_px) != (world.width_px, world.height_px):
        size = f"{found.width_px} x {found.height_px}"
        raise ActionLogError(f"the log's picture has {size} pixels, this world {wanted}; use the world of the log")
    return data
