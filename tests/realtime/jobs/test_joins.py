"""Films one after another: counted, measured and heard by reading them back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldstream.realtime.jobs.contract import JobError, JobOrder
from worldstream.realtime.jobs.joins import join, own_sound, parts
from worldstream.worlds.media.sound import Sound, read_sound, write_sound
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video


def film(path: Path, grey: int, frames: int, fps: int = 24, size: tuple[int, int] = (64, 48), hz: float = 0.0) -> Path:
    """One grey film, with a tone where `hz` is not 0."""
    width, height = size
    sound = None
    if hz:
        at = np.arange(round(frames / fps * 48_000)) / 48_000
        sound = Sound((0.5 * np.sin(2 * np.pi * hz * at)).astype(np.float32)[None], 48_000)
    pictures = (np.full((height, width, 3), grey, np.uint8) for _ in range(frames))
    return write_video(path, pictures, Fraction(fps), sound=sound)[0]


def run(folder: Path, inputs: dict[str, Path], **params: Any) -> Any:
    out = folder / "out"
    out.mkdir()
    fractions: list[float] = []
    result = join(JobOrder("id", "join", params, inputs, out), None, lambda f, preview=None: fractions.append(f))  # type: ignore[arg-type]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    return result


def test_films_follow_each_other(tmp_path: Path) -> None:
    inputs = {
        "video0": film(tmp_path / "a", 40, 12),
        "video1": film(tmp_path / "b", 200, 24, fps=48, size=(96, 48)),  # half a second, wider
        "video10": film(tmp_path / "d", 80, 6),
        "video2": film(tmp_path / "c", 120, 6, fps=12),  # half a second
    }
    result = run(tmp_path, inputs)
    made = read_video(result.outputs[0].path)
    levels = [round(float(frame.mean())) for frame in made.frames()]
    assert (made.width, made.height, made.fps) == (64, 48, Fraction(24))
    assert len(levels) == 12 + 12 + 12 + 6
    for start, stop, grey in ((0, 12, 40), (12, 24, 200), (24, 36, 120), (36, 42, 80)):
        assert all(abs(level - grey) <= 4 for level in levels[start:stop])
    assert made.sound is None
    assert result.facts["sound"] is False


def test_sounds_of_their_own_stay_with_their_films(tmp_path: Path) -> None:
    inputs = {"video0": film(tmp_path / "a", 40, 24), "video1": film(tmp_path / "b", 90, 24, hz=440.0)}
    sound = own_sound([read_video(path) for path in parts(inputs)])
    assert sound is not None
    assert sound.seconds == pytest.approx(2.0, abs=0.05)
    made = read_video(run(tmp_path, inputs).outputs[0].path).sound
    assert made is not None
    quiet, loud = made.between(0.1, 0.8).samples, made.between(1.2, 1.8).samples
    assert float(np.abs(quiet).max()) < 0.02
    assert float(np.abs(loud).max()) > 0.3


def test_a_sound_over_all_of_it(tmp_path: Path) -> None:
    tone = Sound(np.full((1, 48_000), 0.25, np.float32), 48_000)
    audio, _ = write_sound(tmp_path / "tone", tone, "wav")
    inputs = {"video0": film(tmp_path / "a", 40, 24, hz=440.0), "audio": audio}
    result = run(tmp_path, inputs, width=32, height=32, format="prores")
    heard = read_sound(result.outputs[0].path)
    assert heard is not None
    assert float(np.median(heard.between(0.2, 0.8).samples)) == pytest.approx(0.25, abs=0.01)
    made = read_video(result.outputs[0].path)
    assert (made.width, made.height) == (32, 32)


def test_what_cannot_be_joined_is_said(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="1 to 20 films can be joined, got 0"):
        parts({"audio": tmp_path})
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(JobError, match="A part cannot be read") as caught:
        run(tmp_path, {"video0": tmp_path / "broken.mp4"})
    assert caught.value.code == "INPUT_PREPROCESSING.VIDEO"
