"""Films from files: any codec that FFmpeg knows, as upright RGB frames at an even pace, streamed.

Every frame is brought to what a viewer would see: turned as the file says, square pixels, whole frames instead of
fields, black behind transparent places, Rec.709 from HDR. A film of uneven pace is given an even one: each frame stays
until the next one's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.error import BlockingIOError, EOFError
from av.filter import Graph
from numpy.typing import NDArray

from .limits import LIMITS, Limits, MediaError, readable
from .picture_of_frame import Shape, picture, shape_of
from .sound import READING, Sound, read_sound

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FASTEST, SLOWEST = 240, Fraction(1, 10)  # frames per second


@dataclass(frozen=True)
class Video:
    """A film in a file. `frames()` may be called again and again; each call decodes from the start."""

    path: Path
    fps: Fraction
    width: int  # as shown: upright, with square pixels
    height: int
    count: int | None  # frames, where the file says so; off by a few in films of uneven pace
    seconds: float | None  # where the file says so
    notes: tuple[str, ...]  # what a person should know: that it is interlaced, turned, HDR, …
    shape: Shape
    limits: Limits = LIMITS
    claimed_s: float | None = None  # the length of the pictures themselves, where the file says it
    begin_s: float | None = None  # the first frame's time by the file's own clock

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame, `[H, W, 3]`, at `fps`. Raises MediaError in the midst where the file is damaged there."""
        return self._frames("rgb24")

    def deep_frames(self) -> Iterator[NDArray[np.uint16]]:
        """As `frames`, with 16 bits per channel: 10-bit films keep their shades."""
        return self._frames("rgb48le")

    @cached_property
    def sound(self) -> Sound | None:
        """The first sound track, from the first frame on; None where there is none. Decoded at the first use.

        Raises MediaError."""
        return read_sound(self.path, self.limits, self.begin_s)

    def _frames(self, format: str) -> Iterator[NDArray[Any]]:
        with readable(self.path), _opened(self.path, self.limits) as container:
            stream = _film(container)
            at, until, last = 0, 0, None
            for slot, frame in self._placed(container, stream):
                self._check(slot + 1)
                if last is not None:
                    yield from repeat(last, slot - at)
                at, last = slot, picture(frame, self.shape, format)
                until = slot + max(1, self._lasts(frame))
            if last is None:
                raise MediaError("it holds no frame that can be decoded")
            self._check(until)
            yield from repeat(last, until - at)
            self._broken_off(until)

    def _check(self, frames: int) -> None:
        self.limits.check_length(frames, self.width, self.height, float(frames / self.fps))

    def _lasts(self, frame: VideoFrame) -> int:
        """How many frames of the even pace it is shown for; slide shows hold their last picture."""
        return round((frame.duration or 0) * (frame.time_base or Fraction(0)) * self.fps)

    def _broken_off(self, frames: int) -> None:
        """Raises MediaError where much less was decoded than the film says that it holds."""
        if self.claimed_s is not None and float((frames + 2) / self.fps) < 0.75 * self.claimed_s:
            found = f"{float(frames / self.fps):.1f} of {self.claimed_s:.1f} s"
            raise MediaError(f"it breaks off after {found}; save or upload it again")

    def _placed(self, container: Any, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
        """(which frame of the even pace it is, the frame), never going back."""
        start: Fraction | None = None
        slot = -1
        for frame in whole_frames(container, stream, self.shape, self.limits):
            if frame.pts is None or frame.time_base is None:
                slot += 1
            else:
                at = frame.pts * frame.time_base
                start = at if start is None else start
                slot = max(round((at - start) * self.fps), slot)
            yield max(slot, 0), frame


def read_video(path: Path, limits: Limits = LIMITS) -> Video:
    """Open a film. Its first frame is decoded, so that what cannot be decoded at all is refused here.

    Raises MediaError, FileNotFoundError or OSError.
    """
    with readable(path), _opened(path, limits) as container:
        stream = _film(container)
        if min(stream.width, stream.height) < 1:
            raise MediaError("its pictures cannot be decoded, or are too large; save it again")
        limits.check_size(stream.width, stream.height)
        seconds = _seconds(container, stream)
        if seconds is not None and seconds > limits.seconds:
            raise MediaError(f"it is {seconds:.1f} s long, longer than {limits.seconds:g} s; send a shorter part")
        if stream.frames > limits.frames:
            raise MediaError(f"it has {stream.frames} frames, more than {limits.frames}; send a shorter part")
        fps = _pace(stream)
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise MediaError("it holds no frame that can be decoded; save it again")
        shape = shape_of(first, stream)
        limits.check_size(shape.width, shape.height)
        own = stream.duration is not None or not container.streams.audio
        return Video(
            path, fps, shape.width, shape.height, stream.frames or None, seconds, shape.notes, shape, limits,
            seconds if own else None, first.time,
        )  # fmt: skip


def _opened(path: Path, limits: Limits) -> Any:
    """A container whose decoders refuse larger pictures before they take memory for them."""
    options = {**READING, "max_pixels": str(limits.pixels)}
    container = av.open(str(path), "r", options=options, metadata_errors="ignore")
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = {**stream.codec_context.options, "max_pixels": str(limits.pixels)}
            stream.thread_type = "AUTO"
    return container


def _film(container: Any) -> VideoStream:
    pictures = [stream for stream in container.streams.video if not stream.disposition & 0x400]  # 0x400: cover art
    if not pictures:
        held = "only sound" if container.streams.audio else "no pictures"
        raise MediaError(f"it holds {held}, no film; send a file with a video track")
    stream: VideoStream = pictures[0]
    if stream.codec_context is None:
        raise MediaError("its codec is not known here; save it as H.264")
    return stream


def _seconds(container: Any, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, container.duration / 1_000_000) if container.duration is not None else None


def _pace(stream: VideoStream) -> Fraction:
    """Frames per second: the average that the file states, else its best guess, else 25."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and SLOWEST <= rate <= FASTEST:
            return _usual(Fraction(rate))
    return Fraction(25)


def _usual(rate: Fraction) -> Fraction:
    """Containers round times, so a film of 30000/1001 may average to 29.9702: the usual pace that near is meant."""
    for base in (24, 25, 30, 48, 50, 60, 120):
        for exact in (Fraction(base), Fraction(base * 1000, 1001)):
            if abs(rate - exact) < exact / 20_000:
                return exact
    return rate.limit_denominator(1001)


def whole_frames(container: Any, stream: VideoStream, shape: Shape, limits: Limits) -> Iterator[VideoFrame]:
    """Decoded frames, checked for size; fields are woven into whole frames by FFmpeg's yadif."""
    if not shape.interlaced:
        for frame in container.decode(stream):
            limits.check_size(frame.width, frame.height)
            yield frame
        return
    graph = Graph()
    source = graph.add_buffer(template=stream)
    graph.link_nodes(source, graph.add("yadif", "mode=send_frame"), graph.add("buffersink")).configure()
    for frame in container.decode(stream):
        limits.check_size(frame.width, frame.height)
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return
