"""Pictures of avatars: upright, of one size, with the head kept where a tall picture is cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...worlds.media.limits import MediaError
from ...worlds.media.pictures import read_picture, write_picture
from ...worlds.media.scaling import fitted
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

MOST_SIDE_PX = 2048  # of a picture that is to stay as it is
ABOVE = 0.2  # of what a tall picture has too much, this part is cut above and the rest below: heads are up there


def portrait(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """The kind `portrait`: the picture `image` at `width` x `height`, or with `processing` none as it is."""
    tell(0.0)
    try:
        rgb = read_picture(order.file("image"))
    except MediaError as error:
        raise JobError("INPUT_PREPROCESSING.IMAGE", f"The picture cannot be read: {error}") from error
    if order.params.get("processing") == "none":
        height, width = rgb.shape[:2]
        scale = min(1.0, MOST_SIDE_PX / max(width, height))
        done = fitted(rgb, max(1, round(width * scale)), max(1, round(height * scale)))
    else:
        width, height = (int(order.params.get(side) or 0) for side in ("width", "height"))
        if not (1 <= width <= MOST_SIDE_PX and 1 <= height <= MOST_SIDE_PX):
            said = f"A portrait is 1 to {MOST_SIDE_PX} pixels wide and high, not {width} x {height}."
            raise JobError("INPUT_PREPROCESSING.INVALID", said)
        done = fitted(upper(rgb, width / height), width, height)
    path, media_type = write_picture(order.folder / "portrait", done, "png")
    tell(1.0, done)
    facts = {"width": done.shape[1], "height": done.shape[0], "from": [rgb.shape[1], rgb.shape[0]]}
    return JobResult((Output(path, media_type),), "none", facts)


def upper(rgb: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """`rgb` `[H, W, 3]` without what it has too much in height for `aspect`, most of it taken away below; a view."""
    height, width = rgb.shape[:2]
    keep = min(height, max(1, round(width / aspect)))
    top = round((height - keep) * ABOVE)
    return rgb[top : top + keep]
