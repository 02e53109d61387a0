"""The picture that a walk began from, inside the walk's log: a log is all that its replay needs."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .action_log import ActionLogError, LogHeader
from .core import World
from .first_image import FirstImage, ImageError, checked, decoded


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
        data = base64.b64decode(header.image_png, validate=True)
        found = checked(data)
        if (found.width_px, found.height_px) != (world.width_px, world.height_px):
            size = f"{found.width_px} x {found.height_px}"
            raise ActionLogError(f"its picture has {size} pixels, this world {world.width_px} x {world.height_px}")
        image = decoded(data, world.width_px, world.height_px)
    except (binascii.Error, ImageError) as error:
        raise ActionLogError(f"its picture cannot be read ({error}); the log is damaged") from error
    if image.sha256 != header.image_sha256:
        raise ActionLogError("its picture is not the one that its header names; the log is damaged")
    return image
