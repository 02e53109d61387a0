"""A film with another sound: the picture untouched, to the byte."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from worldstream.avatars.audio.muxing import has_film, with_sound
from worldstream.worlds.media.limits import MediaError
from worldstream.worlds.media.sound import Sound, read_sound, write_sound
from worldstream.worlds.media.video_out import write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of moving stripes, with a tone of 300 Hz."""
    frames = (np.roll(np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (48, 1, 3)), k, 1) for k in range(50))
    tone = Sound(np.sin(2 * np.pi * 300 * np.arange(96_000) / 48_000)[None].astype(np.float32) * 0.3, 48_000)
    return write_video(tmp_path_factory.mktemp("film") / "film", frames, Fraction(25), sound=tone)[0]


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def _peak_hz(sound: Sound) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples[0]))
    return float(spectrum.argmax() * sound.rate_hz / sound.samples.shape[1])


@pytest.mark.parametrize("seconds", [1.0, 2.0, 5.0])
def test_the_picture_is_copied_and_the_sound_is_new(film: Path, tmp_path: Path, seconds: float) -> None:
    at = np.arange(int(seconds * 48_000)) / 48_000
    new = Sound(np.stack([np.sin(2 * np.pi * 1000 * at)] * 2).astype(np.float32) * 0.3, 48_000)
    path, media_type = with_sound(film, new, tmp_path / "new")
    assert (path.name, media_type) == ("new.mp4", "video/mp4")
    assert _packets(path) == _packets(film)
    heard = read_sound(path)
    assert heard is not None
    assert _peak_hz(heard) == pytest.approx(1000, abs=5)
    assert heard.seconds == pytest.approx(min(seconds, 2.0), abs=0.06)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_a_film(film: Path, tmp_path: Path) -> None:
    sound, _ = write_sound(tmp_path / "s", Sound(np.zeros((1, 4800), np.float32), 48_000), "mp3")
    assert has_film(film)
    assert not has_film(sound)
    with pytest.raises(MediaError, match="holds no film"):
        with_sound(sound, Sound(np.zeros((1, 10), np.float32), 48_000), tmp_path / "x")
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(MediaError):
        has_film(tmp_path / "junk.mp4")
