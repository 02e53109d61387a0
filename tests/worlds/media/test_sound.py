"""Sounds through every format and back; parts, rates, silence before the beginning, limits."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.worlds.media.films import tone
from worldstream.worlds.media.limits import DeliveryError, Limits, MediaError
from worldstream.worlds.media.sound import FORMATS, Sound, read_sound, write_sound


def pulse(rate_hz: int = 48_000) -> Sound:
    """Two seconds with a click at one second, on the right only."""
    samples = np.zeros((2, 2 * rate_hz), np.float32)
    time = np.arange(rate_hz // 50) / rate_hz
    samples[1, rate_hz : rate_hz + len(time)] = 0.8 * np.sin(2 * np.pi * 1000 * time)
    return Sound(samples, rate_hz)


def strongest_hz(sound: Sound) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples[0] * np.hanning(sound.samples.shape[1])))
    return float(np.argmax(spectrum) / sound.seconds)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_back_as_long_and_in_time(tmp_path: Path, name: str) -> None:
    path, media_type = write_sound(tmp_path / "a", pulse(), name)
    back = read_sound(path)
    assert back is not None
    assert media_type.startswith("audio/")
    assert (back.channels, back.rate_hz) == (2, 48_000)
    assert back.seconds == pytest.approx(2.0, abs=0.001)
    begins = float(np.argmax(np.abs(back.samples[1]) > 0.1)) / back.rate_hz
    assert begins == pytest.approx(1.0, abs=0.003)  # codec delays are taken away again
    assert np.abs(back.samples[0]).max() < 0.05  # left stays left
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("name", "codec"), [("mp3", "mp3"), ("wav", "pcm_s16le"), ("flac", "flac"), ("ogg_opus", "opus")]
)
def test_the_file_is_what_its_name_says(tmp_path: Path, name: str, codec: str) -> None:
    path, _ = write_sound(tmp_path / "a", tone(0.5), name, 24_000)
    with av.open(str(path)) as container:
        context = container.streams.audio[0].codec_context
        assert context.codec.canonical_name == codec
        assert context.sample_rate == (48_000 if name == "ogg_opus" else 24_000)
    back = read_sound(path)
    assert back is not None
    assert strongest_hz(back) == pytest.approx(440, abs=3)


def test_a_wav_is_read_alike_by_the_standard_library(tmp_path: Path) -> None:
    sound = tone(0.1, 16_000)
    path, _ = write_sound(tmp_path / "a", sound, "wav")
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16_000, 2)
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    assert np.abs(heard - sound.samples[0]).max() < 2e-4


def test_what_is_too_loud_is_clipped_and_more_channels_are_mixed(tmp_path: Path) -> None:
    loud = Sound(np.full((6, 4800), 3.0, np.float32), 48_000)
    back = read_sound(write_sound(tmp_path / "a", loud, "wav")[0])
    assert back is not None
    assert back.channels == 2
    assert back.samples.max() <= 1.0
    assert back.samples.min() > 0.99


def test_a_part_of_a_sound_is_silent_outside() -> None:
    sound = Sound(np.ones((1, 10), np.float32), 10)
    assert sound.between(0.5, 1.5).samples[0].tolist() == [1] * 5 + [0] * 5
    assert sound.between(-0.2, 0.1).samples[0].tolist() == [0, 0, 1]
    assert sound.between(2.0, 2.3).samples[0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="end after it begins"):
        sound.between(1.0, 1.0)


def test_a_sound_that_begins_late_begins_with_silence(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("flac", rate=8000, layout="mono")
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(np.full((1, 4000), 8000, np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 8000, 4000, Fraction(1, 8000)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    sound = read_sound(tmp_path / "late.mkv")
    assert sound is not None
    assert sound.seconds == pytest.approx(1.0, abs=0.01)
    assert np.abs(sound.samples[0, :3990]).max() == 0
    assert sound.samples[0, 4010:].min() > 0.2


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("samples", [0, 1, 700])
def test_very_short_sounds_end_in_silence(tmp_path: Path, name: str, samples: int) -> None:
    path, _ = write_sound(tmp_path / "a", Sound(np.zeros((1, samples), np.float32), 192_000), name)
    back = read_sound(path)
    assert back is not None
    assert back.seconds == pytest.approx(0.02, abs=0.03)


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="no sound format 'aiff'; there are mp3, wav"):
        write_sound(tmp_path / "a", tone(0.1), "aiff")
    with pytest.raises(DeliveryError, match="at 12345 Hz"):
        write_sound(tmp_path / "a", tone(0.1), "wav", 12345)
    with pytest.raises(FileNotFoundError):
        read_sound(tmp_path / "none.mp3")
    (tmp_path / "junk.mp3").write_bytes(bytes(500))
    with pytest.raises(MediaError, match=r"^junk\.mp3: it cannot be decoded"):
        read_sound(tmp_path / "junk.mp3")
    with pytest.raises(ValueError, match=r"\[channels, n\]"):
        Sound(np.zeros(5, np.float32), 48_000)


def test_a_long_sound_is_refused_while_it_is_decoded(tmp_path: Path) -> None:
    silence = Sound(np.zeros((1, 8000 * 60), np.float32), 8000)
    path, _ = write_sound(tmp_path / "long", silence, "flac")
    assert path.stat().st_size < 20_000  # a minute of nothing is small
    with pytest.raises(MediaError, match="longer than 30 s"):
        read_sound(path, Limits(sound_seconds=30))
    with pytest.raises(MediaError, match=r"more than 0\.1 million samples"):
        read_sound(path, Limits(samples=100_000))
