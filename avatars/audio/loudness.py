"""How loud a sound is (ITU-R BS.1770-4: K-weighting, gated blocks), and the same sound at a wanted loudness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .spectral import FloatArray, Signal

BLOCK_S = 0.4
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
CEILING = 0.89  # -1 dBFS
KNEE = 0.5  # from here samples are bent rather than clipped
MOST_BENT = 2.8  # a peak may reach this much before it is bent, 9 dB over full scale


def _weights(at: FloatArray, rate_hz: int) -> FloatArray:
    """Gain of the weighting at frequencies in Hz, at any rate: BS.1770's high shelf and its high pass, which the
    recommendation lists as digital filters at 48 kHz."""

    def warped(f0: float) -> NDArray[np.complex128]:  # the bilinear transform's frequency axis
        turned = np.tan(np.pi * np.minimum(at / rate_hz, 0.4999)) / np.tan(np.pi * f0 / rate_hz)
        return np.asarray(1j * turned, np.complex128)

    s, q, high = warped(1681.974450955533), 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    shelf = (high * s * s + high**0.4996667741545416 * s / q + 1) / (s * s + s / q + 1)
    s, q, k = warped(38.13547087602444), 0.5003270373238773, np.tan(np.pi * 38.13547087602444 / rate_hz)
    pass_ = s * s / (s * s + s / q + 1) * (1 + k / q + k * k)  # its numerator is listed as 1, -2, 1
    return np.abs(shelf * pass_)


def k_weighted(samples: Signal, rate_hz: int) -> FloatArray:
    """`[channels, n]` through the weighting. Goes round at the ends."""
    at = np.fft.rfftfreq(samples.shape[1], 1 / rate_hz).astype(np.float64)
    spectrum = np.fft.rfft(np.asarray(samples, np.float64))
    return np.fft.irfft(spectrum * _weights(at, rate_hz), samples.shape[1])


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
