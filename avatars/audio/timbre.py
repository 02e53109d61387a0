"""What makes one throat sound unlike another: formants, tilt, roughness, breath, and what no throat has (rings)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .pitch import pitch_of
from .spectral import FloatArray, Signal, envelopes, spectra, spectrum_shaped, together, window_of

BLOCK_S = 20.0  # long sounds are worked on in blocks, so that memory stays flat
JOIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Timbre:
    """How a voice's sound is changed after it was made; the default changes nothing."""

    formants: float = 1.0  # above 1: a smaller throat; 0.5..2
    tilt_db: float = 0.0  # per octave above 1 kHz, to at most four octaves; negative is darker
    rough: float = 0.0  # 0..1: a growl an octave below the voice
    ring_hz: float = 0.0  # a ring modulator's frequency; 0 is none
    breath: float = 0.0  # 0..1: noise in place of the voice's periods


def timbred(samples: Signal, rate_hz: int, timbre: Timbre, seed: int = 0) -> FloatArray:
    """A mono voice `[n]` with another timbre; timing and pitch stay. The level stays too."""
    signal = np.asarray(samples, np.float64)
    before = level_of(signal)
    if timbre.formants != 1.0:
        signal = in_blocks(signal, rate_hz, lambda part: warped(part, rate_hz, timbre.formants))
    if timbre.rough > 0:
        signal = _growled(signal, rate_hz, timbre.rough)
    if timbre.ring_hz > 0:
        carrier = np.cos(2 * np.pi * timbre.ring_hz * np.arange(len(signal)) / rate_hz)
        signal = signal * (0.5 + 0.5 * carrier)
    if timbre.breath > 0:
        signal = in_blocks(signal, rate_hz, lambda part: _breathed(part, rate_hz, timbre.breath, seed))
    if timbre.tilt_db:
        slope = [(1.0, 0.0), (1000.0, 0.0), (16_000.0, 4 * timbre.tilt_db), (200_000.0, 4 * timbre.tilt_db)]
        signal = in_blocks(signal, rate_hz, lambda part: spectrum_shaped(part, rate_hz, slope))
    after = level_of(signal)
    return signal * (before / after) if after > 0 else signal


def level_of(signal: Signal) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if len(signal) else 0.0


def in_blocks(
    signal: FloatArray,
    rate_hz: int,
    change: Callable[[FloatArray], FloatArray],
    told: Callable[[float], None] | None = None,
) -> FloatArray:
    """`change`, which keeps the shape, over a signal `[..., n]` of any length; blocks fade into each other. `told`
    hears the share that is done, and may raise to end it."""
    block, join, count = int(BLOCK_S * rate_hz), int(JOIN_S * rate_hz), signal.shape[-1]
    if count <= block + join:
        return change(signal)
    out = np.zeros(signal.shape)
    rise = np.linspace(0, 1, join)
    for start in range(0, count - join, block):
        end = min(start + block + join, count)
        part = change(signal[..., start:end])
        if start:
            part[..., :join] *= rise
        if end < count:
            part[..., -join:] *= rise[::-1]
        out[..., start:end] += part
        if told is not None:
            told(end / count)
    return out


def warped(signal: FloatArray, rate_hz: int, factor: float) -> FloatArray:
    """Formants moved to `factor` times their frequency; the harmonics stay where they are."""
    size = window_of(rate_hz)
    spectrum = spectra(signal, size, size // 4)
    shape = envelopes(np.abs(spectrum), rate_hz)
    bins = np.arange(shape.shape[1])
    source = np.minimum(bins / factor, len(bins) - 1.001)
    low = source.astype(int)
    moved = shape[:, low] + (shape[:, low + 1] - shape[:, low]) * (source - low)
    gain = np.clip(moved / (shape + 1e-9), 0.0, 30.0)
    return together(spectrum * gain, size, size // 4, len(signal))


def _growled(signal: FloatArray, rate_hz: int, amount: float) -> FloatArray:
    """Every second period weaker: the subharmonic of false vocal folds."""
    pitch = pitch_of(signal, rate_hz)
    f0 = np.where(pitch.voiced, pitch.f0_hz, pitch.median_hz or 70.0)
    at = np.linspace(0, len(f0) - 1, len(signal))
    phase = 2 * np.pi * np.cumsum(np.interp(at, np.arange(len(f0)), f0)) / rate_hz / 2
    return signal * (1 - 0.45 * amount * (1 + np.sin(phase) + 0.5 * np.sin(phase * 0.67)))


def _breathed(signal: FloatArray, rate_hz: int, amount: float, seed: int) -> FloatArray:
    """Noise with the voice's own spectral shape, mixed in its place."""
    size = window_of(rate_hz)
    spectrum = spectra(signal, size, size // 4)
    noise = spectra(np.random.default_rng(seed).standard_normal(len(signal)), size, size // 4)
    air = noise / np.sqrt(size / 2) * envelopes(np.abs(spectrum), rate_hz) * 0.35
    return together(spectrum * (1 - 0.7 * amount) + air * amount, size, size // 4, len(signal))
