"""Films one after another, as one film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...worlds.media.limits import MediaError
from ...worlds.media.scaling import fitted
from ...worlds.media.sound import Sound, read_sound
from ...worlds.media.video_in import Video, read_video
from ...worlds.media.video_out import write_video
from .contract import JobError, JobOrder, JobResult, Output, Tell, Workshop

MOST_PARTS = 20


def join(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """The kind `join`: the films `video0`, `video1`, … in their order, at the size and pace of the first unless the
    params say otherwise, with the sound of the input `audio`, or else with what they have of their own."""
    tell(0.0)
    try:
        films = [read_video(path) for path in parts(order.inputs)]
        sound = read_sound(order.inputs["audio"]) if "audio" in order.inputs else own_sound(films)
        return _written(order, tell, films, sound)
    except MediaError as error:
        raise JobError("INPUT_PREPROCESSING.VIDEO", f"A part cannot be read: {error}") from error
    except ValueError as error:  # a size or a form of the film
        raise JobError("INPUT_PREPROCESSING.INVALID", f"{error}.") from error


def _written(order: JobOrder, tell: Tell, films: list[Video], sound: Sound | None) -> JobResult:
    params, first = order.params, films[0]
    width, height = int(params.get("width", first.width)), int(params.get("height", first.height))
    total = sum(film.count or max(1, round((film.seconds or 1.0) * film.fps)) for film in films)

    def told(frames: int, rgb: NDArray[np.uint8]) -> None:
        tell(min(0.99, frames / total), rgb if frames % 24 == 1 else None)

    path, media_type = write_video(
        order.folder / "joined",
        joined(films, first.fps, width, height),
        first.fps,
        str(params.get("format", "mp4")),
        params.get("prores_profile"),
        sound,
        told,
    )
    tell(1.0)
    facts = {"parts": len(films), "width": width, "height": height, "fps": float(first.fps)}
    return JobResult((Output(path, media_type),), "none", facts | {"sound": sound is not None})


def parts(inputs: Mapping[str, Path]) -> list[Path]:
    """`video0`, `video1`, … in the order of their numbers. Raises JobError where there are none, or too many."""
    numbered = sorted(
        (int(name[5:]), path) for name, path in inputs.items() if name.startswith("video") and name[5:].isdecimal()
    )
    if not 1 <= len(numbered) <= MOST_PARTS:
        raise JobError("INPUT_PREPROCESSING.VIDEO", f"1 to {MOST_PARTS} films can be joined, got {len(numbered)}.")
    return [path for _, path in numbered]


def joined(films: Sequence[Video], fps: Fraction, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Frames `[height, width, 3]` at `fps` of all films. A film of another pace keeps its length: frames are shown
    again or left out."""
    for film in films:
        shown = 0
        for index, rgb in enumerate(film.frames(), 1):
            due = int(Fraction(index) / film.fps * fps)  # frames at `fps` by the end of this one
            if due > shown:
                frame = fitted(rgb, width, height)
                while shown < due:
                    yield frame
                    shown += 1


def own_sound(films: Sequence[Video]) -> Sound | None:
    """What the films sound like one after another, silent where one has no sound; None where none has."""
    sounds = [film.sound for film in films]
    heard = [sound for sound in sounds if sound is not None]
    if not heard:
        return None
    rate_hz, channels = heard[0].rate_hz, max(sound.channels for sound in heard)
    pieces = []
    for film, sound in zip(films, sounds, strict=True):
        length = round((film.seconds or 0.0) * rate_hz)
        piece = np.zeros((channels, length), np.float32)
        if sound is not None:
            sound = sound if sound.rate_hz == rate_hz else resampled(sound, rate_hz)
            have = min(length, sound.samples.shape[1])
            piece[:, :have] = sound.samples[:, :have] if sound.channels == channels else sound.samples[:1, :have]
        pieces.append(piece)
    return Sound(np.concatenate(pieces, axis=1), rate_hz)


def resampled(sound: Sound, rate_hz: int) -> Sound:
    """The same at another rate, by lines between the samples."""
    count = round(sound.seconds * rate_hz)
    at = np.arange(count) * (sound.rate_hz / rate_hz)
    have = np.arange(sound.samples.shape[1])
    return Sound(np.stack([np.interp(at, have, channel) for channel in sound.samples]).astype(np.float32), rate_hz)
