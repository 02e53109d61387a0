"""Sounds: what a file says, as float samples, and samples to a file. Everything goes through FFmpeg's codecs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from .limits import LIMITS, DeliveryError, Limits, MediaError, readable

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

# A file may not make us open others (playlists, scripts); only formats that people keep films and sounds in are tried.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,avi,mpeg,mpegts,mpegvideo,gif,h264,hevc,ivf,obu,flv,asf,mxf,"
    "png_pipe,jpeg_pipe,webp_pipe,apng,mp3,wav,flac,aac,aiff,w64,caf,au,ac3,amr"
)
READING = {"protocol_whitelist": "file", "max_streams": "32", "format_whitelist": CONTAINERS}
SHORTEST_S = 0.02  # shorter sounds end in silence
CHUNK = 4096  # samples that are resampled and encoded at once
RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How a sound is written."""

    name: str
    suffix: str
    media_type: str
    container: str
    codec: str
    rates_hz: tuple[int, ...]  # that the codec knows; another rate is resampled to the next above, or the highest
    options: tuple[tuple[str, str], ...] = ()
    bit_rate: int = 0  # per second; 0 is lossless
    sample_format: str = "fltp"


_MP3 = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
FORMATS = {
    format.name: format
    for format in (
        SoundFormat("mp3", ".mp3", "audio/mpeg", "mp3", "libmp3lame", _MP3, bit_rate=192_000),
        SoundFormat("wav", ".wav", "audio/wav", "wav", "pcm_s16le", RATES_HZ, sample_format="s16"),
        SoundFormat("flac", ".flac", "audio/flac", "flac", "flac", RATES_HZ, sample_format="s16"),
        SoundFormat("ogg_opus", ".ogg", "audio/ogg", "ogg", "libopus", (48000,), bit_rate=128_000, sample_format="flt"),
    )
}


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples in [-1, 1]; louder ones are clipped when they are written."""

    samples: NDArray[np.float32]  # [channels, n]
    rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or not self.samples.shape[0]:
            raise ValueError(f"Sound.samples must be [channels, n], got {self.samples.shape}")
        if self.rate_hz < 1:
            raise ValueError(f"Sound.rate_hz must be positive, got {self.rate_hz}")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.rate_hz

    def between(self, start_s: float, end_s: float) -> Sound:
        """A part of it, silent where it had not begun or was over. Raises ValueError where the end is not later."""
        if end_s <= start_s:
            raise ValueError(f"a part of a sound must end after it begins, got {start_s:g} to {end_s:g} s")
        start, end = round(start_s * self.rate_hz), round(end_s * self.rate_hz)
        part = np.zeros((self.channels, end - start), np.float32)
        have = self.samples[:, max(0, start) : max(0, end)]
        part[:, max(0, -start) :][:, : have.shape[1]] = have
        return Sound(part, self.rate_hz)


def read_sound(path: Path, limits: Limits = LIMITS, begin_s: float | None = None) -> Sound | None:
    """The first sound of a file, of a film as well; None where it has none, or only an empty one.

    It begins at `begin_s` of the file's own clock, or where the file begins: with silence where the sound is later,
    without what comes before. Raises MediaError, or OSError.
    """
    with readable(path), av.open(str(path), "r", options=READING, metadata_errors="ignore") as container:
        if not container.streams.audio or container.streams.audio[0].codec_context is None:
            return None
        if begin_s is None:
            begin_s = (container.start_time or 0) / 1_000_000
        return _decoded(container.streams.audio[0], limits, begin_s)


def _decoded(stream: AudioStream, limits: Limits, begin_s: float) -> Sound | None:
    rate_hz, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if not 1 <= channels <= limits.channels:
        raise MediaError(f"its sound has {channels} channels; 1 to {limits.channels} can be used")
    if not 1000 <= rate_hz <= 768_000:
        raise MediaError(f"its sound has {rate_hz} samples per second; save it at 48000")
    resampler = av.AudioResampler(format="fltp", rate=rate_hz)
    parts: list[NDArray[np.float32]] = []
    count, lead_s = 0, 0.0
    for frame in cast("InputContainer", stream.container).decode(stream):
        if not parts and frame.pts is not None and frame.time_base is not None:
            lead_s = float(frame.pts * frame.time_base) - begin_s
        for piece in resampler.resample(frame):
            parts.append(cast(NDArray[np.float32], piece.to_ndarray()))
            count += piece.samples
        if count > limits.sound_seconds * rate_hz:
            raise MediaError(f"its sound is longer than {limits.sound_seconds:g} s; send a shorter part")
        if count * channels > limits.samples:
            raise MediaError(f"its sound has more than {limits.samples / 1e6:g} million samples; send a shorter part")
    if not count:
        return None
    if any(part.shape[0] != parts[0].shape[0] for part in parts):
        raise MediaError("the number of channels changes within its sound; save it again with one number")
    lead = round(max(-limits.sound_seconds, min(lead_s, limits.sound_seconds)) * rate_hz)
    if lead > 1:  # one sample is rounding
        parts.insert(0, np.zeros((parts[0].shape[0], lead), np.float32))
    samples = np.concatenate(parts, axis=1)
    return Sound(samples if lead >= -1 else samples[:, -lead:], rate_hz)


def write_sound(
    path_without_suffix: Path, sound: Sound, format: str = "mp3", rate_hz: int | None = None
) -> tuple[Path, str]:
    """Write a sound, whole or not at all; returns (path with its suffix, media type).

    `format` is of FORMATS. Opus has 48,000 samples per second whatever is asked for. Raises DeliveryError on an unknown
    format or rate.
    """
    if format not in FORMATS:
        raise DeliveryError(f"there is no sound format {format!r}; there are {', '.join(FORMATS)}")
    kind = FORMATS[format]
    if rate_hz is not None and rate_hz not in RATES_HZ:
        raise DeliveryError(f"a sound cannot be written at {rate_hz} Hz; there are {', '.join(map(str, RATES_HZ))}")
    if sound.seconds < SHORTEST_S:  # codecs write no file at all for less than a block
        sound = sound.between(0.0, SHORTEST_S)
    path = path_without_suffix.with_name(path_without_suffix.name + kind.suffix)
    temporary = path.with_name(path.name + ".part")
    try:
        with av.open(str(temporary), "w", format=kind.container, options={"fflags": "+bitexact"}) as container:
            track = SoundTrack(container, sound, kind, rate_hz)
            for packets in track.until():
                container.mux(packets)
            container.mux(track.end())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path, kind.media_type


class SoundTrack:
    """One sound on its way into a container, packet by packet, so that it can lie between the frames of a film."""

    def __init__(self, container: OutputContainer, sound: Sound, kind: SoundFormat, rate_hz: int | None = None) -> None:
        wanted = rate_hz or sound.rate_hz
        rate = next((rate for rate in sorted(kind.rates_hz) if rate >= wanted), max(kind.rates_hz))
        self._sound = sound if sound.channels <= 2 else _stereo(sound)
        self._layout = layout = "mono" if self._sound.channels == 1 else "stereo"
        self._done = 0  # samples that have been encoded
        self._stream = cast(
            "AudioStream", container.add_stream(kind.codec, rate=rate, options=dict(kind.options), layout=layout)
        )
        self._stream.codec_context.format = kind.sample_format
        if kind.bit_rate:
            self._stream.codec_context.bit_rate = kind.bit_rate
        self._resampler = av.AudioResampler(format=kind.sample_format, layout=layout, rate=rate)

    def until(self, seconds: float = math.inf) -> Iterator[list[av.Packet[AudioStream]]]:
        """What comes before `seconds` and has not been encoded yet, chunk by chunk."""
        sound = self._sound
        end = (
            sound.samples.shape[1]
            if math.isinf(seconds)
            else min(sound.samples.shape[1], round(seconds * sound.rate_hz))
        )
        while self._done < end:
            stop = min(self._done + CHUNK, end)
            part = np.ascontiguousarray(np.clip(sound.samples[:, self._done : stop], -1.0, 1.0), np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts, frame.time_base = sound.rate_hz, self._done, Fraction(1, sound.rate_hz)
            self._done = stop
            yield self._encoded(frame)

    def end(self) -> list[av.Packet[AudioStream]]:
        """What the codec still holds; nothing may follow."""
        return [*self._encoded(None), *self._stream.encode(None)]

    def _encoded(self, frame: av.AudioFrame | None) -> list[av.Packet[AudioStream]]:
        ready = self._resampler.resample(frame)
        return [packet for piece in ready for packet in self._stream.encode(piece)]


def _stereo(sound: Sound) -> Sound:
    """More than two channels to two: odd ones left, even ones right, at a level that cannot clip."""
    left, right = sound.samples[0::2].mean(axis=0), sound.samples[1::2].mean(axis=0)
    return Sound(np.stack([left, right]).astype(np.float32), sound.rate_hz)
