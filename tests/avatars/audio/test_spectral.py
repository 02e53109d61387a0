"""Spectra and back, resampling, bands."""

import av
import numpy as np
import pytest

from worldstream.avatars.audio.spectral import resampled, spectra, spectrum_shaped, together, window_of

NOISE = np.random.default_rng(5).standard_normal(5000)


@pytest.mark.parametrize("length", [1, 37, 1024, 5000])
def test_spectra_and_back_is_the_signal(length: int) -> None:
    signal = NOISE[:length]
    made = together(spectra(signal, 512, 128), 512, 128, length)
    assert np.allclose(made, signal, atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_windows_divide_by_their_hop(rate: int) -> None:
    assert window_of(rate) % 8 == 0
    assert window_of(rate) / rate == pytest.approx(0.0464, rel=0.02)


@pytest.mark.parametrize(("old", "new"), [(22_050, 48_000), (48_000, 16_000), (44_100, 48_000), (11_025, 8_000)])
def test_resampling_equals_the_tone_at_the_new_rate(old: int, new: int) -> None:
    at_old, at_new = (np.arange(rate * 2) / rate for rate in (old, new))
    made = resampled(np.sin(2 * np.pi * 997 * at_old), old, new)
    assert len(made) == len(at_new)
    inside = slice(new // 4, -new // 4)
    assert np.abs(made - np.sin(2 * np.pi * 997 * at_new))[inside].max() < 2e-3


def test_long_sounds_have_no_seam_between_blocks() -> None:
    at = np.arange(22_050 * 65) / 22_050
    made = resampled(np.sin(2 * np.pi * 440 * at), 22_050, 16_000)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(made)) / 16_000)
    assert np.abs(made - expected)[4000:-4000].max() < 5e-3


def test_resampling_is_that_of_ffmpeg() -> None:
    """An independent resampler, within 0.5 % below the band edge."""
    signal = spectrum_shaped(np.random.default_rng(1).standard_normal(24_000), 24_000, [(1, 0), (4000, 0), (5000, -90)])
    frame = av.AudioFrame.from_ndarray(signal[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = 24_000
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000)
    theirs = np.concatenate([f.to_ndarray()[0] for piece in (frame, None) for f in resampler.resample(piece)])
    ours = resampled(signal, 24_000, 48_000)
    both = slice(4000, 40_000)
    assert np.square(ours[both] - theirs[both]).mean() < 2.5e-5 * np.square(ours).mean()


def test_nothing_and_absurd_rates() -> None:
    assert resampled(np.zeros(0), 8000, 16_000).shape == (0,)
    with pytest.raises(ValueError, match="this is 12"):
        resampled(NOISE, 12, 16_000)
