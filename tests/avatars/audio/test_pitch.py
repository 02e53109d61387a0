"""Pitch of known signals, and speech moved to another."""

import numpy as np
import pytest

from worldstream.avatars.audio.pitch import pitch_of, repitched
from worldstream.avatars.audio.spectral import envelopes, spectra
from worldstream.avatars.tts import Speech

RATE = 22_050


@pytest.mark.parametrize("f0", [60.0, 110.0, 220.0, 440.0])
def test_the_pitch_of_a_buzz(f0: float) -> None:
    at = np.arange(RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * f0 * k * at) / k for k in range(1, 12))
    pitch = pitch_of(np.asarray(buzz), RATE)
    assert pitch.median_hz == pytest.approx(f0, rel=0.01)
    assert pitch.voiced[5:-5].mean() > 0.95


def test_a_glide_is_followed() -> None:
    at = np.arange(2 * RATE) / RATE
    f0 = 100 * 2 ** (at / 2)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    pitch = pitch_of(np.asarray(sum(np.sin(k * phase) / k for k in range(1, 9))), RATE)
    times = np.arange(len(pitch.f0_hz)) * 0.01
    error = np.abs(12 * np.log2(pitch.f0_hz / (100 * 2 ** (times / 2))))
    assert np.nanmedian(error) < 0.15
    assert np.nanpercentile(error, 95) < 0.5


@pytest.mark.parametrize("kind", ["noise", "silence", "click"])
def test_nothing_voiced_is_heard_in_what_has_none(kind: str) -> None:
    signal = np.zeros(RATE)
    if kind == "noise":
        signal = np.random.default_rng(0).standard_normal(RATE)
    if kind == "click":
        signal[1000] = 1.0
    pitch = pitch_of(signal, RATE)
    assert pitch.median_hz == 0.0
    assert not pitch.voiced.any()


@pytest.mark.parametrize("factor", [0.7, 1.5, 2.0])
def test_speech_is_moved_and_keeps_its_timing(man: Speech, factor: float) -> None:
    pitch = pitch_of(man.samples, man.rate_hz)
    moved = repitched(man.samples, man.rate_hz, pitch, pitch.f0_hz * factor)
    assert moved.shape == man.samples.shape
    assert pitch_of(moved, man.rate_hz).median_hz == pytest.approx(pitch.median_hz * factor, rel=0.03)
    width = man.rate_hz // 50
    loud = [np.sqrt(np.square(x[: len(x) // width * width].reshape(-1, width)).mean(1)) for x in (man.samples, moved)]
    assert np.corrcoef(*loud)[0, 1] > 0.9


def test_level_and_formants_stay(man: Speech) -> None:
    pitch = pitch_of(man.samples, man.rate_hz)
    moved = repitched(man.samples, man.rate_hz, pitch, pitch.f0_hz * 1.4)
    assert np.square(moved).mean() == pytest.approx(np.square(man.samples).mean(), rel=0.4)
    shapes = []
    for signal in (man.samples, moved):
        magnitudes = np.abs(spectra(signal, 1024, 256))
        shapes.append((20 * np.log10(envelopes(magnitudes, man.rate_hz) + 1e-6))[magnitudes.sum(1) > 5].mean(0)[9:200])
    apart = shapes[0] - shapes[1]
    assert np.abs(apart - apart.mean()).mean() < 2.0


def test_too_short_to_have_a_pitch_passes_as_it_is() -> None:
    short = np.ones(20)
    pitch = pitch_of(short, RATE)
    assert np.array_equal(repitched(short, RATE, pitch, pitch.f0_hz), short)
