"""Noise goes, speech stays: measured against the speech without the noise."""

import numpy as np
import pytest

from worldstream.avatars.audio.denoise import denoised, isolated, noise_power
from worldstream.avatars.audio.spectral import FloatArray, spectra
from worldstream.avatars.tts import Speech


def snr_db(clean: FloatArray, heard: FloatArray) -> float:
    """Of what is heard, the clean signal's part at whatever level against the rest (scale-invariant, Le Roux 2019)."""
    part = clean * (heard @ clean) / (clean @ clean)
    return float(10 * np.log10((part @ part) / ((heard - part) @ (heard - part))))


def pink(count: int) -> FloatArray:
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return np.asarray(noise / noise.std(), np.float64)


@pytest.mark.parametrize("level_db", [0.0, 5.0])
def test_pink_noise_sinks_by_six_decibels_and_more(man: Speech, woman: Speech, level_db: float) -> None:
    gains = []
    for speech in (man, woman):
        clean = speech.samples.astype(np.float64)
        noisy = clean + pink(len(clean)) * clean.std() * 10 ** (-level_db / 20)
        made = denoised(noisy[None], speech.rate_hz)[0]
        gains.append(snr_db(clean, made) - snr_db(clean, noisy))
        isolation = isolated(noisy[None], speech.rate_hz)[0]
        assert snr_db(clean, isolation) - snr_db(clean, noisy) > 6
    assert np.mean(gains) > 6, gains
    assert min(gains) > 5, gains


def test_clean_speech_is_kept(man: Speech) -> None:
    clean = man.samples.astype(np.float64)
    assert snr_db(clean, denoised(clean[None], man.rate_hz)[0]) > 18
    assert np.corrcoef(clean, isolated(clean[None], man.rate_hz)[0])[0, 1] > 0.97


def test_noise_alone_sinks_by_fifteen_decibels() -> None:
    noise = np.random.default_rng(2).standard_normal(22_050 * 3)[None] * 0.1
    made = denoised(noise, 22_050)
    assert 20 * np.log10(made.std() / noise.std()) < -15


def test_the_noise_is_measured_right() -> None:
    power = np.square(np.abs(spectra(np.random.default_rng(0).standard_normal(48_000 * 3), 2048, 512)))
    measured = noise_power(power, 512 / 48_000)
    assert np.median(measured[40:-40, 50:-50]) == pytest.approx(power[40:-40, 50:-50].mean(), rel=0.25)


def test_isolation_lowers_what_is_beside_the_middle(man: Speech) -> None:
    """A tune in the left channel only, in and between the words."""
    rate = man.rate_hz
    at = np.arange(len(man.samples)) / rate
    tune = 0.06 * np.sign(np.sin(2 * np.pi * 523 * at)) * (np.sin(2 * np.pi * 2 * at) > -0.5)
    stereo = np.stack([man.samples + tune, man.samples]).astype(np.float64)
    made = isolated(stereo, rate)
    before, after = snr_db(man.samples.astype(float), stereo[0]), snr_db(man.samples.astype(float), made[0])
    assert after > before + 5
    assert made.shape == stereo.shape


def test_silence_and_very_short_sounds_pass() -> None:
    assert not denoised(np.zeros((2, 4000)), 22_050).any()
    assert denoised(np.ones((1, 3)), 22_050).shape == (1, 3)
    assert isolated(np.zeros((1, 0)), 22_050).shape == (1, 0)
