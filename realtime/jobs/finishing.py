"""Jobs that finish what was made: larger pictures and films, another frame rate, HDR and delivery formats.

Params are those of `kinds.py`; `sharpen`, `detail` and `grain` are in [0, 1], and the upscaling kinds take
`resolution` (720p, 1k, 2k, 4k: the shorter side) in place of width and height.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...worlds.media.formats import film_format
from ...worlds.media.frame_rate import frames_at, rate_of, retimed
from ...worlds.media.limits import DeliveryError, MediaError
from ...worlds.media.pictures import read_picture, write_picture
from ...worlds.media.scaling import fitted
from ...worlds.media.upscaler import load_upscaler
from ...worlds.media.upscaling import Finish, target_size, upscaled, upscaled_film
from ...worlds.media.video_in import Video, read_video
from ...worlds.media.video_out import write_video
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

RESOLUTIONS = {"720p": 720, "1k": 1080, "2k": 1440, "4k": 2160}  # pixels of the shorter side
PREVIEW_PX = 480
BOOSTED_FPS = 60  # a boost doubles the rate, as long as it does not go beyond
UPSCALER, MOTION, EXPANSION = "upscaler", "motion-interpolation", "highlight-expansion"
Rgb = NDArray[np.uint8]


def upscale_image(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """A larger picture: by `factor`, or to `width` and `height`, or to a `resolution`."""
    with _in_words():
        rgb = read_picture(order.file("image"))
        tell(0.1)
        width, height = _size(order.params, rgb.shape[1], rgb.shape[0])
        large = upscaled(rgb, width, height, load_upscaler(), _finish(order.params))
        tell(0.9, _preview(large))
        path, media_type = write_picture(order.folder / "picture", large, str(order.params.get("format") or "png"))
        tell(1.0)
    facts = {"width": width, "height": height, "from": f"{rgb.shape[1]}x{rgb.shape[0]}"}
    return JobResult((Output(path, media_type),), UPSCALER, facts)


def upscale_video(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """A larger film, with twice the frames where `boost_fps` asks for them."""
    with _in_words():
        video = read_video(order.file("video"))
        width, height = _size(order.params, video.width, video.height, even=True)
        fps = video.fps
        if order.params.get("boost_fps") and fps * 2 <= BOOSTED_FPS:
            fps = fps * 2
        slower = retimed(video.frames(), video.fps, fps)  # before it is larger: motion is as clear, and cheaper
        frames = upscaled_film(slower, width, height, load_upscaler(), _finish(order.params))
        return _film(order, video, frames, fps, UPSCALER, tell)


def frame_rate(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """The same film, as long, at `rate` frames per second."""
    with _in_words():
        fps = rate_of(str(order.params.get("rate", "")))
        video = read_video(order.file("video"))
        return _film(order, video, retimed(video.frames(), video.fps, fps), fps, MOTION, tell)


def hdr(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """The same film in another form, mostly an HDR one: `format`, hdr10 where none is named, and `prores_profile`."""
    with _in_words():
        kind = film_format(str(order.params.get("format") or "hdr10"), order.params.get("prores_profile"))
        video = read_video(order.file("video"))
        frames = video.deep_frames()  # ten bits stay ten bits
        if video.shape.eight_bits:
            frames = video.frames()  # type: ignore[assignment]  # and eight are smoothed
        model = "delivery" if kind.light == "sdr" else EXPANSION
        return _film(order, video, frames, video.fps, model, tell, "hdr10")


def _film(
    order: JobOrder, video: Video, frames: Iterator[Any], fps: Any, model: str, tell: Tell, format: str = "mp4"
) -> JobResult:
    """Write `frames` with the source's sound; how far it is follows from the source's length."""
    expected = _expected(video, fps)
    written = 0
    size = (video.width, video.height)

    def told(count: int, rgb: Rgb) -> None:
        nonlocal written, size
        written, size = count, (rgb.shape[1], rgb.shape[0])
        tell(_fraction(count, expected), _preview(rgb))

    tell(0.0)
    params = order.params
    path, media_type = write_video(
        order.folder / "video", frames, fps, str(params.get("format") or format), params.get("prores_profile"),
        video.sound, told,
    )  # fmt: skip
    tell(1.0)
    facts = {
        "width": size[0], "height": size[1], "frames": written, "fps": str(fps), "notes": list(video.notes),
        "from": f"{video.width}x{video.height} at {float(video.fps):.3f} fps",
    }  # fmt: skip
    return JobResult((Output(path, media_type),), model, facts)


def _expected(video: Video, fps: Any) -> int | None:
    count = video.count or (None if video.seconds is None else round(video.seconds * video.fps))
    return None if count is None else frames_at(count, video.fps, fps)


def _fraction(count: int, expected: int | None) -> float:
    """Of the frames that are expected; where nobody knows, it slows down as it goes. The last bit is the writing."""
    return 0.98 * (min(1.0, count / expected) if expected else count / (count + 100.0))


def _preview(rgb: Rgb) -> Rgb:
    height, width = rgb.shape[:2]
    scale = PREVIEW_PX / max(height, width)
    if scale >= 1:
        return rgb
    return fitted(rgb, max(1, round(width * scale)), max(1, round(height * scale)))


def _size(params: Mapping[str, Any], width: int, height: int, even: bool = False) -> tuple[int, int]:
    """(width, height) of the result; codecs of films want even sides."""
    resolution = params.get("resolution")
    if resolution is not None:
        if resolution not in RESOLUTIONS:
            raise DeliveryError(f"there is no resolution {resolution!r}; there are {', '.join(RESOLUTIONS)}")
        factor = RESOLUTIONS[resolution] / min(width, height)
        size = target_size((width, height), factor, None)
    elif params.get("width") and params.get("height"):
        size = target_size((width, height), None, (int(params["width"]), int(params["height"])))
    else:
        size = target_size((width, height), float(params.get("factor") or 2), None)
    return (size[0] - size[0] % 2, size[1] - size[1] % 2) if even and min(size) > 1 else size


def _finish(params: Mapping[str, Any]) -> Finish:
    return Finish(*(float(params.get(name) or 0.0) for name in ("sharpen", "detail", "grain")))


@contextmanager
def _in_words() -> Iterator[None]:
    """What is wrong with a file or a wish, as a failure code of the task API."""
    try:
        yield
    except MediaError as error:
        raise JobError("ASSET.INVALID", f"{error}.") from error
    except DeliveryError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", f"{error}.") from error
