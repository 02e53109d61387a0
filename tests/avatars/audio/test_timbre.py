"""Formants, tilt, roughness, rings and breath: what changes and what stays."""

import numpy as np
import pytest

from worldstream.avatars.audio.matching import tilt_of
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.spectral import FloatArray, Signal, envelopes, spectra
from worldstream.avatars.audio.timbre import BLOCK_S, JOIN_S, Timbre, in_blocks, level_of, timbred, warped
from worldstream.avatars.tts import Speech


def formant_shift(before: Signal, after: Signal) -> float:
    """By which factor the mean spectral envelope was stretched: the one that correlates best."""
    shapes = []
    for signal in (before, after):
        magnitudes = np.abs(spectra(signal, 1024, 512))
        weight = magnitudes.sum(1)
        shapes.append((np.log(envelopes(magnitudes, 22_050) + 1e-6) * weight[:, None]).sum(0) / weight.sum())
    bins = np.arange(len(shapes[0]))
    factors = np.arange(0.6, 1.7, 0.01)
    inside = slice(15, 170)
    fits = [np.corrcoef(np.interp(bins / k, bins, shapes[0])[inside], shapes[1][inside])[0, 1] for k in factors]
    return float(factors[int(np.argmax(fits))])


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_formants_move_and_the_pitch_stays(man: Speech, factor: float) -> None:
    made = timbred(man.samples, man.rate_hz, Timbre(formants=factor))
    assert formant_shift(man.samples, made) == pytest.approx(factor, abs=0.03)
    assert pitch_of(made, man.rate_hz).median_hz == pytest.approx(
        pitch_of(man.samples, man.rate_hz).median_hz, rel=0.02
    )
    assert level_of(made) == pytest.approx(level_of(man.samples))
    assert made.shape == man.samples.shape


def test_no_change_is_no_change(man: Speech) -> None:
    assert np.allclose(timbred(man.samples, man.rate_hz, Timbre()), man.samples)
    assert np.square(warped(man.samples.astype(float), man.rate_hz, 1.0) - man.samples).mean() < 1e-9


@pytest.mark.parametrize("tilt", [-2.0, 2.0])
def test_the_tilt_is_that_asked_for_above_a_kilohertz(tilt: float) -> None:
    noise = np.random.default_rng(0).standard_normal(22_050 * 2)
    made = timbred(noise, 22_050, Timbre(tilt_db=tilt))
    gain = np.abs(np.fft.rfft(made)) / np.abs(np.fft.rfft(noise))
    at = np.fft.rfftfreq(len(made), 1 / 22_050)
    octaves = [20 * np.log10(np.median(gain[(at >= f) & (at < f * 1.2)])) for f in (1500, 3000, 6000)]
    assert np.diff(octaves) == pytest.approx([tilt, tilt], abs=0.1)
    assert tilt_of(made, 22_050) - tilt_of(noise, 22_050) == pytest.approx(tilt * 0.55, abs=abs(tilt) * 0.35)


def test_a_growl_lies_an_octave_below(man: Speech) -> None:
    """Between the harmonics, half way, there is something new."""
    made = timbred(man.samples, man.rate_hz, Timbre(rough=0.9))
    before, after = pitch_of(man.samples, man.rate_hz), pitch_of(made, man.rate_hz)
    assert after.median_hz < 0.75 * before.median_hz or after.voiced.sum() < 0.6 * before.voiced.sum()


def test_breath_takes_the_voice_out_of_speech(man: Speech) -> None:
    made = timbred(man.samples, man.rate_hz, Timbre(breath=0.8), seed=1)
    assert pitch_of(made, man.rate_hz).voiced.sum() < 0.9 * pitch_of(man.samples, man.rate_hz).voiced.sum()
    assert formant_shift(man.samples, made) == pytest.approx(1.0, abs=0.05)


def test_blocks_join_without_a_trace() -> None:
    rate = 1000
    signal = np.random.default_rng(0).standard_normal((2, int(rate * (2.5 * BLOCK_S))))
    shares: list[float] = []

    def change(part: FloatArray) -> FloatArray:
        assert part.shape[-1] <= rate * (BLOCK_S + JOIN_S)
        return part * 2

    made = in_blocks(signal, rate, change, shares.append)
    assert np.allclose(made, signal * 2)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
