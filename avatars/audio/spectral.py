"""Short-time spectra and back, resampling, and bands: the tools that the other files of this folder share.

Signals are float arrays, the last axis is time, full scale is 1. Only numpy is used.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Signal = NDArray[np.float32] | FloatArray
SPAN = 1024  # samples of a window at 22,050 Hz; others in proportion
TINY = 1e-10
BLOCK_S = 30.0  # resampling and filtering hold this much at a time


def window_of(rate_hz: int) -> int:
    """Samples of an analysis window: about 46 ms, a multiple of eight."""
    return max(8 * round(SPAN * rate_hz / 22050 / 8), 64)


def spectra(samples: Signal, size: int, hop: int) -> NDArray[np.complex128]:
    """Short-time Fourier transform of `[n]` with a root-Hann window: `[frames, size // 2 + 1]`.

    `together` of it, at the same sizes, is the signal again. `hop` divides `size` at least twice.
    """
    padded = np.pad(samples.astype(np.float64), (size, size + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.fft.rfft(frames * _root_hann(size))


def together(spectrum: NDArray[np.complex128], size: int, hop: int, length: int) -> FloatArray:
    """The signal `[length]` of short-time spectra, by weighted overlap and add."""
    window = _root_hann(size)
    frames = np.fft.irfft(spectrum, size) * window
    out = np.zeros(hop * (len(frames) - 1) + size)
    for index, frame in enumerate(frames):
        out[index * hop : index * hop + size] += frame
    gain = hop / float(np.square(window).sum())
    return out[size : size + length] * gain


def _root_hann(size: int) -> FloatArray:
    return np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size))


def envelopes(magnitudes: FloatArray, rate_hz: int, longest_s: float = 0.0016) -> FloatArray:
    """The smooth shape of each spectrum `[frames, bins]`, harmonics left out: what lies below `longest_s` of the
    cepstrum (Oppenheim 1969), lifted to touch the peaks once (Röbel and Rodet 2005)."""
    logs = np.log(magnitudes + TINY)
    size = 2 * (magnitudes.shape[-1] - 1)
    kept = max(int(longest_s * rate_hz), 2)
    lifter = np.zeros(size)
    lifter[:kept] = lifter[-kept + 1 :] = 1.0
    raised = smooth = logs
    for _ in range(3):
        smooth = np.fft.rfft(np.fft.irfft(raised, size) * lifter).real
        raised = np.maximum(logs, smooth)
    return np.exp(smooth)


def resampled(samples: Signal, rate_hz: int, new_rate_hz: int) -> FloatArray:
    """`[..., n]` at another rate, band-limited by the Fourier transform of overlapping blocks: `[..., n * new / old]`,
    rounded up. Raises ValueError on a rate outside 1000..384000."""
    for rate in (rate_hz, new_rate_hz):
        if not 1000 <= rate <= 384_000:
            raise ValueError(f"a sampling rate lies between 1000 and 384000 Hz, this is {rate}")
    signal = np.asarray(samples, np.float64)
    if rate_hz == new_rate_hz or signal.shape[-1] == 0:
        return signal
    common = gcd(rate_hz, new_rate_hz)
    down, up = rate_hz // common, new_rate_hz // common
    count = -(-signal.shape[-1] * up // down)
    whole = -(-signal.shape[-1] // down) * down
    block = min(max(int(BLOCK_S * rate_hz) // down, 1) * down, whole)
    edge = (rate_hz // 20 // down + 1) * down  # 50 ms beside each block hide that a transform goes round
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(edge, edge + block)])
    pieces = []
    for start in range(0, signal.shape[-1], block):
        piece = padded[..., start : start + block + 2 * edge]
        spectrum = np.fft.rfft(piece)
        size = piece.shape[-1] * up // down
        bins = min(spectrum.shape[-1], size // 2 + 1)
        made = np.zeros((*spectrum.shape[:-1], size // 2 + 1), np.complex128)
        made[..., :bins] = spectrum[..., :bins]
        turned = np.fft.irfft(made, size) * up / down
        pieces.append(turned[..., edge * up // down : (edge + block) * up // down])
    return np.concatenate(pieces, -1)[..., :count]


def spectrum_shaped(samples: Signal, rate_hz: int, gains_db: list[tuple[float, float]]) -> FloatArray:
    """`[..., n]` filtered without delay by gains at frequencies `[(Hz, dB), …]`, straight lines between them over the
    logarithm of the frequency. Goes round at the ends: pad what must not."""
    signal = np.asarray(samples, np.float64)
    size = signal.shape[-1]
    at = np.maximum(np.fft.rfftfreq(size, 1 / rate_hz), 1.0)
    points = np.array(gains_db)
    gains = np.interp(np.log(at), np.log(points[:, 0]), points[:, 1])
    return np.fft.irfft(np.fft.rfft(signal) * 10 ** (gains / 20), size)
