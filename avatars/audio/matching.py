"""A voice brought near that of a recording: its pitch, its liveliness and its spectral tilt are measured and matched.

That is all. It is the offline engine's own voice at another height and brightness, not a copy of a person, and it is
called matched wherever it is spoken of.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..tts import Voice
from .pitch import pitch_of
from .spectral import TINY, Signal, spectra, window_of
from .voices import voice_named

SHORTEST_S = 1.0
LONGEST_S = 60.0  # more of a recording says no more about its pitch
_USUAL_SPREAD = 1.6  # semitones of espeak-ng at liveliness 50, measured


def matched(samples: Signal, rate_hz: int, name: str = "matched") -> tuple[Voice, dict[str, float]]:
    """(a voice near the mono recording `[n]`, what was measured of it). Raises ValueError when nobody speaks in it."""
    if len(samples) < SHORTEST_S * rate_hz:
        raise ValueError(f"the reference is {len(samples) / rate_hz:.2f} s long; at least {SHORTEST_S:g} s are needed")
    heard = np.asarray(samples[: int(LONGEST_S * rate_hz)], np.float64)
    pitch = pitch_of(heard, rate_hz)
    share = float(pitch.voiced.mean())
    if share < 0.1:
        raise ValueError(f"no voice was found in the reference ({share:.0%} of it is voiced); give a clean recording")
    f0_hz, tilt = pitch.median_hz, tilt_of(heard, rate_hz)
    kind = "man" if f0_hz < 155 else "woman" if f0_hz < 270 else "child"
    base = voice_named({"man": "Jack", "woman": "Maya", "child": "Pip"}[kind])
    liveliness = round(min(max(50 * pitch.spread / _USUAL_SPREAD, 5), 100))
    f0_hz = min(max(f0_hz, 45.0), 480.0)
    timbre = replace(base.timbre, tilt_db=0.0)
    voice = replace(base, name=name, f0_hz=f0_hz, liveliness=liveliness, tilt_db=tilt, timbre=timbre, speed=1.0)
    return voice, {"f0_hz": f0_hz, "spread_semitones": pitch.spread, "tilt_db_per_octave": tilt, "voiced": share}


def tilt_of(samples: Signal, rate_hz: int) -> float:
    """Slope of the long-term spectrum between 300 Hz and 5 kHz (or the top of the rate), in dB per octave."""
    size = window_of(rate_hz)
    heard = np.asarray(samples[: int(LONGEST_S * rate_hz)], np.float64)
    power = np.square(np.abs(spectra(heard, size, size // 2))).mean(0)
    at = np.fft.rfftfreq(size, 1 / rate_hz)
    edges = 300.0 * 2 ** (np.arange(13) / 3)
    edges = edges[edges < min(rate_hz * 0.45, 5000.0)]
    bands = [power[(at >= low) & (at < high)] for low, high in pairwise(edges)]
    levels = [10 * np.log10(band.mean() + TINY) for band in bands if len(band)]
    return float(np.polyfit(np.arange(len(levels)) / 3, levels, 1)[0])
