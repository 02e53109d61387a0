"""How loud a sound is (ITU-R BS.1770-4: K-weighting, gated blocks), and the same sound at a wanted loudness."""

from __future__ import annotations

import numpy as np

from .spectral import FloatArray, Signal

BLOCK_S = 0.4
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
CEILING = 0.89  # -1 dBFS
KNEE = 0.5  # from here samples are bent rather than clipped
MOST_BENT = 2.8  # a peak may reach this much before it is bent, 9 dB over full scale


def _biquad(at: FloatArray, f0: float, q: float, shelf_db: float | None) -> FloatArray:
    """Power gain at frequencies (Hz) of a high shelf, or of a high pass without `shelf_db`: BS.1770's two filters as
    analogue prototypes, whose digital forms at 48 kHz the recommendation lists."""
    s = 1j * np.maximum(at, 1e-3) / f0
    if shelf_db is None:
        return np.square(np.abs(s * s / (s * s + s / q + 1)))
    high = 10 ** (shelf_db / 20)
    band = high**0.4996667741545416
    return np.square(np.abs((high * s * s + band * s / q + 1) / (s * s + s / q + 1)))


def k_weighted(samples: Signal, rate_hz: int) -> FloatArray:
    """`[channels, n]` through the weighting. Goes round at the ends."""
    at = np.fft.rfftfreq(samples.shape[1], 1 / rate_hz).astype(np.float64)
    gain = _biquad(at, 1681.974450955533, 0.7071752369554196, 3.999843853973347)
    gain *= _biquad(at, 38.13547087602444, 0.5003270373238773, None)
    return np.fft.irfft(np.fft.rfft(np.asarray(samples, np.float64)) * np.sqrt(gain), samples.shape[1])


def loudness(samples: Signal, rate_hz: int) -> float:
    """LUFS of `[channels, n]`, one or two channels; -inf where everything is silent."""
    weighted = k_weighted(samples, rate_hz)
    size = min(int(BLOCK_S * rate_hz), weighted.shape[1])
    power = np.square(weighted).sum(0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, weighted.shape[1] - size + 1, max(size // 4, 1))
    blocks = (sums[starts + size] - sums[starts]) / size
    with np.errstate(divide="ignore"):
        levels = -0.691 + 10 * np.log10(blocks)
        kept = blocks[levels > ABSOLUTE_GATE]
        if not len(kept):
            return -np.inf
        relative = -0.691 + 10 * np.log10(kept.mean()) + RELATIVE_GATE
        kept = blocks[(levels > ABSOLUTE_GATE) & (levels > relative)]
        return float(-0.691 + 10 * np.log10(kept.mean()))


def levelled(samples: Signal, rate_hz: int, lufs: float = -16.0) -> FloatArray:
    """`[channels, n]` at a loudness; what would pass the ceiling is bent, sample by sample, so that a loop stays one.
    Sounds of a few hard blows come out softer than asked: their peaks may be bent by at most 10 dB."""
    signal = np.asarray(samples, np.float64)
    peak = float(np.abs(signal).max(initial=0.0))
    now = loudness(signal, rate_hz)
    if peak == 0 or now == -np.inf:
        return signal
    gain = min(10 ** ((lufs - now) / 20), MOST_BENT / peak)
    return bent(signal * gain)


def bent(signal: FloatArray) -> FloatArray:
    """Below CEILING everywhere, unchanged below KNEE, smooth in between."""
    over = np.maximum(np.abs(signal) - KNEE, 0)
    room = CEILING - KNEE
    return np.where(over > 0, np.sign(signal) * (KNEE + room * np.tanh(over / room)), signal)
