"""Films to files, in every form of `formats.py`, with their sound, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from .colour import Dither, frame_of, unit
from .formats import PRORES, FilmFormat, film_format
from .light import display_light, hlg, pq
from .sequences import write_sequence
from .sound import RATES_HZ, Sound, SoundFormat, SoundTrack

if TYPE_CHECKING:
    from av.video.stream import VideoStream

Rgb = NDArray[np.uint8] | NDArray[np.uint16]
SOUND_OF_FILM = {
    "aac": SoundFormat("aac", "", "", "", "aac", RATES_HZ, bit_rate=192_000),
    "pcm_s24le": SoundFormat("pcm", "", "", "", "pcm_s24le", RATES_HZ, sample_format="s32"),
}


class Told(Protocol):
    """Hears how many frames are written, and the newest of them; may raise to stop the writing."""

    def __call__(self, frames: int, rgb: NDArray[np.uint8], /) -> None: ...


def write_video(
    path_without_suffix: Path,
    frames: Iterable[Rgb],
    fps: Fraction | float,
    format: str = "mp4",
    prores_profile: str | None = None,
    sound: Sound | None = None,
    told: Told | None = None,
    preset: str | None = None,
) -> tuple[Path, str]:
    """Write `frames`, uint8 or uint16 `[H, W, 3]` of Rec.709 video; returns (path with its suffix, media type).

    `format` is of `formats.FORMATS`, `prores_profile` of `formats.PRORES`. The sound is cut to the film's end. Frames
    are taken one by one. `preset` is x264's and x265's, where another than the format's own is
    wanted. Where the codec halves colours, odd sides grow by one pixel, which repeats the last.
    Raises ValueError on unknown names, on no frames, and on frames of different sizes.
    """
    kind = film_format(format, prores_profile)
    if preset is not None and "preset" in dict(kind.options):
        kind = replace(
            kind, options=tuple((name, preset if name == "preset" else value) for name, value in kind.options)
        )
    rate = fps if isinstance(fps, Fraction) else Fraction(fps).limit_denominator(1001)
    if not Fraction(1, 10) <= rate <= 1000:
        raise ValueError(f"a film has 0.1 to 1000 frames per second, got {float(rate):g}")
    path = path_without_suffix.with_name(path_without_suffix.name + kind.suffix)
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    checked = _checked(frames, told)
    temporary = path.with_name(path.name + ".part")
    try:
        first = next(checked, None)
        if first is None:
            raise ValueError("there are no frames to write")
        pictures = chain([first], checked)
        if kind.codec:
            _encode(temporary, pictures, first.shape[:2], rate, kind, sound)
        else:
            write_sequence(temporary, pictures, rate, kind, sound)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path, kind.media_type


def _checked(frames: Iterable[Rgb], told: Told | None) -> Iterator[Rgb]:
    shape: tuple[int, ...] | None = None
    for count, rgb in enumerate(frames):
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a frame is uint8 or uint16 [H, W, 3], got {rgb.dtype} {rgb.shape}")
        if shape is not None and rgb.shape != shape:
            raise ValueError(f"all frames of a film have one size; frame {count} is {rgb.shape}, the first {shape}")
        shape = rgb.shape
        yield rgb
        if told is not None:
            told(count + 1, cast(NDArray[np.uint8], rgb if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)))


def _encode(
    path: Path, frames: Iterator[Rgb], size: tuple[int, int], rate: Fraction, kind: FilmFormat, sound: Sound | None
) -> None:
    # bit-exact: no date in it, so that the same frames are the same file
    options = {"fflags": "+bitexact", "movflags": "+faststart+write_colr"}
    with av.open(str(path), "w", format=kind.container, container_options=options) as container:
        stream = _stream(container, size, rate, kind)
        track = (
            None if sound is None or not sound.samples.size else SoundTrack(container, sound, SOUND_OF_FILM[kind.sound])
        )
        convert = converter(kind, str(stream.codec_context.pix_fmt))
        count = 0
        for count, rgb in enumerate(frames, 1):
            frame = convert(_even(rgb, kind))
            frame.color_primaries, frame.color_trc, frame.colorspace = kind.tags  # ProRes reads them here
            frame.color_range = ColorRange.MPEG
            container.mux(stream.encode(frame))
            for packets in track.until(float(count / rate)) if track is not None else ():
                container.mux(packets)
        container.mux(stream.encode(None))
        if track is not None:
            container.mux(track.end())


def _stream(container: Any, size: tuple[int, int], rate: Fraction, kind: FilmFormat) -> VideoStream:
    options = dict(kind.options)
    pixels = kind.pixels
    if kind.profile:
        options["profile"], pixels = PRORES[kind.profile]
        options["vendor"] = "apl0"
    stream: VideoStream = container.add_stream(kind.codec, rate=rate, options=options)
    context = stream.codec_context
    odd = 2 if pixels.startswith("yuv420") else 1
    stream.height, stream.width = (-(-side // odd) * odd for side in size)
    stream.pix_fmt = pixels
    context.color_primaries, context.color_trc, context.colorspace = kind.tags
    context.color_range = ColorRange.MPEG
    if kind.codec == "libx265":
        context.codec_tag = "hvc1"  # players of Apple's want the parameter sets outside of the stream
    return stream


def _even(rgb: Rgb, kind: FilmFormat) -> Rgb:
    height, width = rgb.shape[:2]
    if not kind.pixels.startswith("yuv420") or not (height % 2 or width % 2):
        return rgb
    return cast(Rgb, np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def converter(kind: FilmFormat, pixels: str) -> Callable[[Rgb], av.VideoFrame]:
    """What makes the codec's frames of ours."""
    dither = Dither()
    if pixels == "yuv420p":
        return _eight_bits

    if kind.light == "sdr":
        return lambda rgb: frame_of(unit(rgb), pixels, "bt709", dither)
    signal = {"pq": pq, "hlg": hlg}[kind.light]
    return lambda rgb: frame_of(signal(display_light(unit(rgb))), pixels, "bt2020", dither)


def _eight_bits(rgb: Rgb) -> av.VideoFrame:
    name = "rgb24" if rgb.dtype == np.uint8 else "rgb48le"
    frame = av.VideoFrame.from_ndarray(cast(Rgb, np.ascontiguousarray(rgb)), format=name)
    return frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND, threads=1,
    )  # fmt: skip
