"""What sounds are made of: shaped noise, struck bodies, grains strewn over time, and rooms.

Everything is laid out on a circle: filters go round, what begins near the end rings on at the beginning. A buffer that
is played again and again has therefore no seam, and a sound that shall not be repeated is cut from a longer circle.
Signals are `[n]` or `[2, n]` (left, right) at RATE_HZ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .spectral import FloatArray, spectrum_shaped

RATE_HZ = 48_000
Gains = Sequence[tuple[float, float]]  # [(Hz, dB), …], straight lines between


@dataclass(frozen=True, slots=True)
class Scene:
    """What an effect is asked for: the length of its circle, and how."""

    count: int  # samples
    rng: np.random.Generator = field(repr=False)
    strength: float = 0.5  # 0 barely there, 1 violent
    pace: float = 1.0  # of what happens again and again; 1 is usual
    words: frozenset[str] = frozenset()  # of the prompt: materials and kinds

    @property
    def seconds(self) -> float:
        return self.count / RATE_HZ

    def says(self, *words: str) -> bool:
        return not self.words.isdisjoint(words)


Effect = Callable[[Scene], FloatArray]  # to [2, n]; its level is its own affair only in proportion


def noise(scene: Scene, gains: Gains, channels: int = 2, shared: float = 0.3) -> FloatArray:
    """Gaussian noise of a spectral shape, `[channels, n]` of unit level; `shared` of it is the same in all channels."""
    own = scene.rng.standard_normal((channels, scene.count))
    if channels > 1:
        own = np.sqrt(1 - shared) * own + np.sqrt(shared) * scene.rng.standard_normal(scene.count)
    return unit(spectrum_shaped(own, RATE_HZ, list(gains)))


def band(low_hz: float, high_hz: float, slope_db: float = 18.0) -> list[tuple[float, float]]:
    """Gains of a band: flat inside, falling by `slope_db` per octave outside."""
    floor = slope_db * 4
    return [(1.0, -floor), (max(low_hz / 16, 1.5), -floor), (low_hz, 0.0), (high_hz, 0.0), (high_hz * 16, -floor)]


def unit(signal: FloatArray) -> FloatArray:
    """At a root mean square of 1; silence stays."""
    level = float(np.sqrt(np.mean(np.square(signal))))
    return signal / level if level > 0 else signal


def drift(scene: Scene, slowest_s: float, low: float = 0.0, high: float = 1.0, power: float = 1.0) -> FloatArray:
    """A random course in [low, high], `[n]`, that changes over about `slowest_s` seconds and goes round."""
    knots = max(round(scene.seconds / slowest_s * 2), 3)
    values = scene.rng.random(knots)
    blend = 0.5 - 0.5 * np.cos(np.pi * np.arange(32) / 32)
    fine = (values[:, None] * (1 - blend) + np.roll(values, -1)[:, None] * blend).ravel()
    fine = (fine - fine.min()) / max(float(np.ptp(fine)), 1e-9)
    course = low + (high - low) * np.append(fine, fine[0]) ** power
    return np.interp(np.arange(scene.count) * (len(fine) / scene.count), np.arange(len(course)), course)


def moments(scene: Scene, per_second: float, jitter: float = 1.0, early: bool = False) -> FloatArray:
    """When things happen, in seconds: evenly over the circle, moved by up to `jitter` of the distance. With `early`
    the first comes at once: nobody asks for a bang to wait for it."""
    count = max(round(per_second * scene.seconds), 1)
    step = scene.seconds / count
    spread = scene.rng.uniform(-0.5, 0.5, count) * jitter * step
    if early:
        spread -= spread[0]
    return (np.arange(count) * step + spread + min(step * 0.1, 0.15)) % scene.seconds


def strew(out: FloatArray, grain: FloatArray, at_s: float, gain: float = 1.0, pan: float = 0.0) -> None:
    """Add a grain `[m]` to `out` `[2, n]` at a moment, round the circle; `pan` in [-1, 1] is left to right."""
    count = out.shape[1]
    start = int(at_s * RATE_HZ) % count
    angle = (pan + 1) * np.pi / 4
    left, right = gain * np.cos(angle), gain * np.sin(angle)
    done = 0
    while done < len(grain):
        part = grain[done : done + count - start]
        out[0, start : start + len(part)] += left * part
        out[1, start : start + len(part)] += right * part
        done, start = done + len(part), 0


def silence(scene: Scene) -> FloatArray:
    """`[2, n]`."""
    return np.zeros((2, scene.count))


def span(seconds: float) -> FloatArray:
    """The times of a grain in seconds, `[m]`."""
    return np.arange(max(int(seconds * RATE_HZ), 2)) / RATE_HZ


def struck(modes: Sequence[tuple[float, float, float]], seconds: float, attack_s: float = 0.001) -> FloatArray:
    """A struck body, `[m]`: modes of (Hz, level, seconds to fall by 60 dB)."""
    at = span(seconds)
    out = np.zeros(len(at))
    for hz, level, decay_s in modes:
        if hz < RATE_HZ / 2:
            out += level * np.sin(2 * np.pi * hz * at) * np.exp(-6.91 * at / decay_s)
    return out * np.minimum(at / attack_s, 1) * _ending(at)


def burst(rng: np.random.Generator, gains: Gains, seconds: float, attack_s: float, decay_s: float) -> FloatArray:
    """A grain of shaped noise `[m]` that rises in `attack_s` and falls by 60 dB in `decay_s`."""
    at = span(seconds)
    shaped = unit(spectrum_shaped(rng.standard_normal(len(at)), RATE_HZ, list(gains)))
    return shaped * np.minimum(at / attack_s, 1) * np.exp(-6.91 * np.maximum(at - attack_s, 0) / decay_s) * _ending(at)


def _ending(at: FloatArray) -> FloatArray:
    """Down to nothing over the last fifth, so that no grain ends with a click."""
    return np.clip((at[-1] - at) / (0.2 * at[-1]), 0, 1)


def tone(hz: FloatArray, harmonics: Sequence[float] = (1.0,)) -> FloatArray:
    """A tone that glides, `[m]`: the frequency at each sample, and the levels of its harmonics."""
    turns = np.cumsum(hz) / RATE_HZ
    first = np.exp((2j * np.pi * (turns % 1)).astype(np.complex64))
    out, order = np.zeros(len(hz), np.float32), np.ones(len(hz), np.complex64)
    for index, level in enumerate(harmonics, 1):
        order *= first  # cheaper than a sine each
        if level:
            audible = hz * index < RATE_HZ * 0.45
            out += np.float32(level) * (order.imag if audible.all() else np.where(audible, order.imag, 0.0))
    return out.astype(np.float64)


def circling(scene: Scene, hz: FloatArray) -> FloatArray:
    """The frequencies `[n]`, moved by less than one turn in all, so that their tone meets itself at the seam."""
    turns = float(hz.sum()) / RATE_HZ
    return hz * (max(round(turns), 1) / turns)


def room(
    signal: FloatArray, rng: np.random.Generator, seconds: float, share: float, dark_hz: float = 4000.0
) -> FloatArray:
    """`[2, n]` in a room: an exponential tail of noise, going round like everything here."""
    count = signal.shape[1]
    at = span(min(seconds, count / RATE_HZ))
    tail = rng.standard_normal((2, len(at))) * np.exp(-6.91 * at / seconds) * np.minimum(at / 0.01, 1)
    tail = spectrum_shaped(tail, RATE_HZ, band(120, dark_hz, 9))
    tail /= np.sqrt(np.square(tail).sum(1, keepdims=True))
    wet = np.fft.irfft(np.fft.rfft(signal) * np.fft.rfft(tail, count), count)
    return (1 - share) * signal + share * wet
