"""Speech out of noise: a Wiener filter whose gain follows the a-priori signal-to-noise ratio (Ephraim and Malah 1984),
with the noise read from the quiet moments of each band.

What it can: steady noises (hiss, hum, wind, fans, rooms) sink by some 10 to 20 dB. `isolated` goes further and also
lets sink what does not come from the middle of a stereo picture and what sounds while nobody speaks. What it cannot:
take a second voice, or music as loud as the voice, out of it. No model was trained for that; it is arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .pitch import HOP_S, pitch_of
from .spectral import TINY, FloatArray, Signal, spectra, together, window_of
from .timbre import in_blocks

FLOOR_DB, ISOLATION_FLOOR_DB = -20.0, -30.0  # what is left of noise alone
MEMORY = 0.9  # of the decision-directed estimate
_QUIET_S = 1.2  # within this long there is a moment without speech in every band
_BIAS = 2.05  # the mean of noise power beside the low tenth of it, smoothed as here: measured on white noise
# Noise is taken for this much stronger, by how far it lies below the signal in dB: less of it twinkles, a little more
# of the voice is lost, which is only worth it where there is much noise.
OVER_AT_DB, OVER = (5.0, 20.0), (1.6, 1.0)


def _window(rate_hz: int) -> int:
    """About 70 ms: long enough to see between the harmonics of a deep voice."""
    return 8 * round(window_of(rate_hz) * 1.5 / 8)


Told = Callable[[float], None]


def denoised(samples: Signal, rate_hz: int, floor_db: float = FLOOR_DB, told: Told | None = None) -> FloatArray:
    """`[channels, n]` with its steady noise reduced; all channels by the same gains, so that the stereo picture stays.
    `told` hears the share that is done."""
    signal = np.asarray(samples, np.float64)
    return _gained(signal, rate_hz, lambda part: speech_gains(part.mean(0), rate_hz, floor_db), told)


def isolated(samples: Signal, rate_hz: int, told: Told | None = None) -> FloatArray:
    """`[channels, n]` with what is not a voice reduced, as far as that goes; see the top of this file."""
    signal = np.asarray(samples, np.float64)

    def gains(part: FloatArray) -> FloatArray:
        gain = speech_gains(part.mean(0), rate_hz, ISOLATION_FLOOR_DB)
        gain *= _voice_band(gain.shape[1], rate_hz)
        if len(part) == 2:
            gain *= _middle(part, rate_hz)
        return gain * _talking(part.mean(0), rate_hz, len(gain))[:, None]

    return _gained(signal, rate_hz, gains, told)


def _gained(
    signal: FloatArray, rate_hz: int, gains: Callable[[FloatArray], FloatArray], told: Told | None
) -> FloatArray:
    """`[channels, n]` times `gains` of it, block by block."""
    if not signal.shape[1]:
        return signal
    size = _window(rate_hz)

    def change(part: FloatArray) -> FloatArray:
        gain = gains(part)
        count = part.shape[1]
        return np.stack([together(spectra(one, size, size // 4) * gain, size, size // 4, count) for one in part])

    return in_blocks(signal, rate_hz, change, told)


def speech_gains(mono: FloatArray, rate_hz: int, floor_db: float) -> FloatArray:
    """Gain of every frame and bin, `[frames, bins]`, in [floor, 1]."""
    size = _window(rate_hz)
    power = np.square(np.abs(spectra(mono, size, size // 4)))
    hop_s = size / 4 / rate_hz
    noise = noise_power(power, hop_s)
    above_db = 10 * np.log10((power.mean() + TINY) / noise.mean())
    posterior = power / (float(np.interp(above_db, OVER_AT_DB, OVER)) * noise)
    floor = 10 ** (floor_db / 20) * np.clip((np.linspace(0, rate_hz / 2, power.shape[1]) - 30) / 40, 0.1, 1)
    gain = np.empty_like(power)
    before = np.zeros(power.shape[1])
    for index, ratio in enumerate(posterior):
        prior = MEMORY * before + (1 - MEMORY) * np.maximum(ratio - 1, 0)
        wiener = prior / (1 + prior)
        gain[index] = np.maximum(wiener, floor)
        before = np.square(wiener) * ratio
    return gain


def noise_power(power: FloatArray, hop_s: float) -> FloatArray:
    """Power of the noise in each frame and bin, from the tenth quantile of what surrounds it (minimum statistics,
    Martin 2001, by quantiles): `[frames, bins]`."""
    frames = len(power)
    width = max(round(0.12 / hop_s), 1)
    sums = np.cumsum(np.pad(power, ((width, 0), (0, 0)), mode="edge"), 0)
    smooth = (sums[width:] - sums[:-width]) / width
    reach, step = max(round(_QUIET_S / hop_s), 4), max(round(0.25 / hop_s), 1)
    centres = np.arange(0, frames, step)
    lows = np.stack([np.quantile(smooth[max(c - reach, 0) : c + reach + 1], 0.1, axis=0) for c in centres])
    at = np.clip(np.arange(frames) / step, 0, len(centres) - 1)
    low = at.astype(int)
    high = np.minimum(low + 1, len(centres) - 1)
    share = (at - low)[:, None]
    estimate = lows[low] * (1 - share) + lows[high] * share
    kernel = np.ones(5) / 5
    padded = np.pad(estimate, ((0, 0), (2, 2)), mode="edge")
    spread = sum(padded[:, k : k + estimate.shape[1]] * kernel[k] for k in range(5))
    return _BIAS * spread + TINY * (1 + power.max())


def _voice_band(bins: int, rate_hz: int) -> FloatArray:
    """Below 70 Hz nobody speaks; above 9 kHz hardly."""
    at = np.linspace(0, rate_hz / 2, bins)
    return np.clip((at - 40) / 40, 0.03, 1) * np.clip((12_000 - at) / 3000, 0.1, 1)


def _middle(part: FloatArray, rate_hz: int) -> FloatArray:
    """How much of each bin both channels share, in the same phase: voices usually stand in the middle."""
    size = _window(rate_hz)
    left, right = (spectra(channel, size, size // 4) for channel in part)
    cross = _smooth((left * right.conj()).real)
    both = _smooth(np.square(np.abs(left)) + np.square(np.abs(right))) / 2
    return np.clip(cross / (both + TINY), 0.05, 1) ** 1.5


def _smooth(values: FloatArray) -> FloatArray:
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return sum((padded[k : k + len(values)] for k in range(5)), np.zeros_like(values)) / 5


def _talking(mono: FloatArray, rate_hz: int, frames: int) -> FloatArray:
    """Near 1 within a quarter of a second of voiced speech, down to -18 dB elsewhere: `[frames]`."""
    voiced = pitch_of(mono, rate_hz).voiced.astype(float)
    reach = round(0.25 / HOP_S)
    near = np.convolve(voiced, np.ones(2 * reach + 1), "same") > 3
    gate = np.convolve(near.astype(float), np.hanning(15) / np.hanning(15).sum(), "same")
    hop_s = _window(rate_hz) / 4 / rate_hz
    at = (np.arange(frames) * hop_s - _window(rate_hz) / 2 / rate_hz) / HOP_S
    return 0.126 + 0.874 * np.interp(at, np.arange(len(gate)), gate)
