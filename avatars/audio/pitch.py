"""How high a voice is, moment by moment, and the same voice higher or lower: autocorrelation and PSOLA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .spectral import TINY, FloatArray, Signal, resampled

HOP_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 50.0, 520.0
_RATE = 11_025  # of the analysis: harmonics above 5 kHz say nothing about the pitch
VOICED = 0.5  # normalised autocorrelation from which a frame counts as voiced
UNVOICED_PERIOD_S = 0.005


@dataclass(frozen=True, slots=True)
class Pitch:
    """Fundamental frequency every HOP_S seconds, NaN where nothing is voiced."""

    f0_hz: FloatArray  # [frames]

    @property
    def median_hz(self) -> float:
        """Over what is voiced; 0 where nothing is."""
        return float(np.nanmedian(self.f0_hz)) if self.voiced.any() else 0.0

    @property
    def voiced(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.f0_hz)

    @property
    def spread(self) -> float:
        """Standard deviation in semitones; 0 where nothing is voiced."""
        return float(np.nanstd(12 * np.log2(self.f0_hz))) if self.voiced.any() else 0.0


def pitch_of(samples: Signal, rate_hz: int) -> Pitch:
    """Of a mono signal `[n]`: the broad range first, then again within an octave of the median, so that no frame is
    read an octave off (after Boersma 1993)."""
    frames = -(-len(samples) // max(int(HOP_S * rate_hz), 1))
    slow = resampled(samples, rate_hz, _RATE)
    first = _tracked(slow, LOWEST_HZ, HIGHEST_HZ, frames)
    if (~np.isnan(first)).sum() < 0.02 * frames or not frames:  # stray frames of a noise are not a voice
        return Pitch(np.full(frames, np.nan))
    middle = float(np.nanmedian(first))
    return Pitch(_smoothed(_tracked(slow, max(middle / 1.8, 40.0), middle * 1.9, frames)))


def _tracked(samples: FloatArray, low_hz: float, high_hz: float, frames: int) -> FloatArray:
    size, hop = int(_RATE * max(0.032, 2.5 / low_hz)), _RATE * HOP_S
    fft = 1 << (2 * size - 1).bit_length()
    padded = np.pad(samples, (size // 2, size))
    window = np.hanning(size)
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, fft)) ** 2, fft)
    lags = np.arange(int(_RATE / high_hz), min(int(_RATE / low_hz) + 2, size - 1))
    out = np.full(frames, np.nan)
    loudest = float(np.abs(samples).max(initial=0.0)) + TINY
    for start in range(0, frames, 1024):  # a batch is 10 s
        at = (np.arange(start, min(start + 1024, frames)) * hop).astype(int)
        cut = padded[np.minimum(at, len(padded) - size)[:, None] + np.arange(size)]
        cut = (cut - cut.mean(1, keepdims=True)) * window
        correlation = np.fft.irfft(np.abs(np.fft.rfft(cut, fft)) ** 2, fft)[:, : size - 1]
        energy = correlation[:, :1]
        ratio = correlation / (energy + TINY) * (shape[0] / np.maximum(shape[: size - 1], shape[0] * 0.05))
        seen = ratio[:, lags] - 0.02 * np.log2(lags / lags[0])  # of equals, the shorter period
        best = seen.argmax(1)
        inner = np.clip(best, 1, len(lags) - 2)
        rows = np.arange(len(best))
        left, peak, right = (seen[rows, inner + step] for step in (-1, 0, 1))
        offset = np.clip(0.5 * (left - right) / np.minimum(left - 2 * peak + right, -TINY), -1, 1)
        loud = np.sqrt(energy[:, 0] / shape[0]) > 0.02 * loudest
        sound = (seen[rows, best] > VOICED) & loud & (best > 0) & (best < len(lags) - 1)
        out[start : start + len(at)] = np.where(sound, _RATE / (lags[inner] + offset), np.nan)
    return out


def _smoothed(f0_hz: FloatArray) -> FloatArray:
    """Median of five over what is voiced; single voiced frames in silence are dropped."""
    padded = np.pad(f0_hz, 2, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 5)
    enough = (~np.isnan(around)).sum(1) >= 3
    filled = np.where(enough[:, None], around, 0.0)
    return np.where(enough & ~np.isnan(f0_hz), np.nanmedian(filled, 1), np.nan)


def repitched(samples: Signal, rate_hz: int, pitch: Pitch, wanted_hz: FloatArray) -> FloatArray:
    """The voice `[n]` at another pitch, `wanted_hz` a frame, its timing and formants kept: grains of two periods are
    laid out anew (TD-PSOLA, Moulines and Charpentier 1990). What is not voiced passes as it is."""
    signal = np.asarray(samples, np.float64)
    marks, periods = _marks(signal, rate_hz, pitch)
    if len(marks) < 3:
        return signal.copy()
    ratio = np.where(pitch.voiced, np.nan_to_num(wanted_hz) / np.nan_to_num(pitch.f0_hz, nan=1.0), 1.0)
    ratio = np.clip(np.where(ratio > 0, ratio, 1.0), 0.25, 4.0)
    out, weight = np.zeros(len(signal)), np.zeros(len(signal))
    at, index = float(marks[0]), 0
    while at < len(signal):
        while index + 1 < len(marks) and abs(marks[index + 1] - at) <= abs(marks[index] - at):
            index += 1
        frame = min(int(at / rate_hz / HOP_S), len(ratio) - 1)
        half = int(periods[index])
        _laid(out, weight, signal, int(marks[index]), round(at), half)
        at += max(periods[index] / ratio[frame], 8.0)
    return out / np.maximum(weight, 0.35)


def _laid(out: FloatArray, weight: FloatArray, signal: FloatArray, source: int, target: int, half: int) -> None:
    """One grain of `2 * half` samples around `source`, added around `target`."""
    left = min(half, source, target)
    right = min(half, len(signal) - source, len(out) - target)
    if left + right <= 0:
        return
    window = 0.5 + 0.5 * np.cos(np.pi * np.arange(-left, right) / half)
    out[target - left : target + right] += signal[source - left : source + right] * window
    weight[target - left : target + right] += window


def _marks(signal: FloatArray, rate_hz: int, pitch: Pitch) -> tuple[NDArray[np.int64], FloatArray]:
    """Where periods begin, and how long they are in samples; every 5 ms where nothing is voiced."""
    marks: list[int] = []
    periods: list[float] = []
    at, was_voiced = 0, False
    while at < len(signal):
        f0 = pitch.f0_hz[min(int(at / rate_hz / HOP_S), len(pitch.f0_hz) - 1)]
        voiced = not np.isnan(f0)
        period = rate_hz / f0 if voiced else UNVOICED_PERIOD_S * rate_hz
        if voiced:  # the strongest peak near where the period should end
            reach = period * (0.15 if was_voiced else 0.5)
            low, high = max(int(at - reach), 0), min(int(at + reach) + 1, len(signal))
            at = low + int(signal[low:high].argmax())
        if not marks or at > marks[-1]:
            marks.append(at)
            periods.append(period)
        was_voiced = voiced
        at = max(int(at + period), marks[-1] + 1)
    return np.array(marks, np.int64), np.array(periods)
