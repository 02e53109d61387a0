"""Loudness against the recommendation's own tone and against FFmpeg's meter, and levelling."""

import av
import av.filter
import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.avatars.audio.loudness import CEILING, bent, levelled, loudness

RATE = 48_000


def _ffmpeg(samples: NDArray[np.float64]) -> float:
    """Integrated loudness by FFmpeg's `ebur128`, an independent implementation."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo")
    meter = graph.add("ebur128", "metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = RATE, 0
    graph.push(frame)
    graph.push(None)
    said = ""
    while True:
        try:
            said = sink.pull().metadata.get("lavfi.r128.I", said)
        except (av.EOFError, av.BlockingIOError):
            return float(said)


def test_the_tone_of_the_recommendation() -> None:
    """A full-scale sine of 997 Hz in one channel is -3.01 LUFS."""
    at = np.arange(RATE * 3) / RATE
    tone = np.stack([np.sin(2 * np.pi * 997 * at), np.zeros(len(at))])
    assert loudness(tone, RATE) == pytest.approx(-3.01, abs=0.03)


@pytest.mark.parametrize("kind", ["noise", "bursts", "low", "high"])
def test_loudness_is_that_of_ffmpeg(kind: str) -> None:
    dice = np.random.default_rng(3)
    at = np.arange(RATE * 5) / RATE
    signal = 0.1 * dice.standard_normal((2, len(at)))
    if kind == "bursts":  # the gates decide
        signal *= np.where((at % 1.0) < 0.4, 1.0, 0.003)
    if kind == "low":
        signal = 0.3 * np.stack([np.sin(2 * np.pi * 60 * at)] * 2)
    if kind == "high":
        signal = 0.3 * np.stack([np.sin(2 * np.pi * 6000 * at)] * 2)
    assert loudness(signal, RATE) == pytest.approx(_ffmpeg(signal), abs=0.25)


def test_levelling_reaches_the_loudness_and_the_ceiling() -> None:
    signal = 0.01 * np.random.default_rng(4).standard_normal((2, RATE * 2))
    made = levelled(signal, RATE, -16.0)
    assert loudness(made, RATE) == pytest.approx(-16.0, abs=0.3)
    clicks = np.zeros((2, RATE))
    clicks[:, ::12_000] = 1.0
    assert np.abs(levelled(clicks, RATE, -16.0)).max() <= CEILING


def test_silence_stays_silent() -> None:
    quiet = np.zeros((2, 1000))
    assert loudness(quiet, RATE) == -np.inf
    assert not levelled(quiet, RATE).any()


def test_bending_is_smooth_and_leaves_quiet_samples_alone() -> None:
    line = np.linspace(-3, 3, 6001)
    made = bent(line)
    assert np.array_equal(made[np.abs(line) <= 0.5], line[np.abs(line) <= 0.5])
    assert (np.diff(made) >= 0).all()
    assert np.abs(made).max() <= CEILING
    assert np.abs(np.diff(made, 2)).max() < 1e-4
