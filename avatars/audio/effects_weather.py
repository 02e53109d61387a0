"""Weather, water and fire. Each function makes `[2, n]` of its scene; see `synthesis.py`."""

from __future__ import annotations

import numpy as np

from .spectral import FloatArray
from .synthesis import (
    RATE_HZ,
    Scene,
    band,
    burst,
    drift,
    moments,
    noise,
    silence,
    span,
    strew,
    unit,
)


def wind(scene: Scene) -> FloatArray:
    """Three bands of noise, each swelling by itself; a gale whistles."""
    s = scene.strength
    low = noise(scene, [(1, -40), (40, 0), (180, 0), (800, -24), (20000, -80)]) * drift(scene, 4, 0.4, 1)
    middle = noise(scene, band(250, 700, 14)) * drift(scene, 2.2, 0.1, 1, 1.5)
    out = low + (0.3 + 0.7 * s) * middle
    if s > 0.35 or scene.says("howling", "whistling"):
        whistle_hz = float(scene.rng.uniform(520, 760))
        whistle = noise(scene, band(whistle_hz, whistle_hz * 1.06, 40)) * drift(scene, 1.8, 0, 1, 3)
        out += (0.5 if scene.says("howling", "whistling") else s - 0.3) * whistle
    return unit(out)


def rain(scene: Scene) -> FloatArray:
    """A bed of far drops, and near ones that can be told apart."""
    s = scene.strength
    bed = noise(scene, [(1, -60), (200, -24), (1200, -4), (5000, 0), (12000, -6), (20000, -16)], shared=0.15)
    out = bed * (0.25 + 0.75 * s) * drift(scene, 3, 0.8, 1)
    drops = silence(scene)
    kinds = [_drop(scene, hz) for hz in scene.rng.uniform(900, 4500, 24)]
    for at in moments(scene, 20 + 90 * s, 3.0):
        grain = kinds[int(scene.rng.integers(len(kinds)))]
        strew(drops, grain, at, float(scene.rng.exponential(0.5)), float(scene.rng.uniform(-1, 1)))
    return unit(out + drops * (1.4 - 0.8 * s))


def _drop(scene: Scene, hz: float) -> FloatArray:
    at = span(0.03)
    tail = np.sin(2 * np.pi * hz * at * (1 + 2 * at)) * np.exp(-at / 0.004)
    tap = burst(scene.rng, band(2000, 9000), 0.03, 0.0005, 0.012)
    return tail + 0.4 * tap


def thunder(scene: Scene) -> FloatArray:
    """A crack, where it is near, and a roll that darkens as it dies away."""
    out = silence(scene)
    near = max(scene.strength - 0.2, 0) * (0 if scene.says("distant", "far", "faint") else 1)
    long_s = min(5.0, max(scene.seconds * 0.8, 1.0))
    for at in moments(scene, 1 / 9, 0.5, early=True):
        for side in (-0.7, 0.7):
            roll = burst(scene.rng, [(1, -30), (25, 0), (90, 0), (400, -18), (20000, -70)], long_s, 0.15, long_s * 1.2)
            rumble = np.interp(span(long_s), np.linspace(0, long_s, 24), scene.rng.uniform(0.25, 1, 24))
            strew(out, roll * rumble, at + 0.05, 1.0, side)
        for late in scene.rng.uniform(0, 0.25, 5):
            crack = burst(scene.rng, band(180, 5000, 6), 0.5, 0.002, 0.35)
            strew(out, crack, at + late, near * float(scene.rng.uniform(0.5, 1.2)), float(scene.rng.uniform(-0.6, 0.6)))
    return out


def waves(scene: Scene) -> FloatArray:
    """Swells that rise, break and hiss back over the sand."""
    out = silence(scene)
    period_s = 7.0 / scene.pace
    low = [(1, -40), (50, -3), (250, 0), (1500, -12), (20000, -50)]
    high = [(1, -60), (400, -18), (2500, 0), (7000, -3), (20000, -18)]
    for at in moments(scene, 1 / period_s, 0.25):
        size = float(scene.rng.uniform(0.7, 1.0))
        whole_s = min(period_s * 1.3, scene.seconds)
        t = span(whole_s) / whole_s
        swell = np.where(t < 0.35, np.sin(t / 0.35 * np.pi / 2) ** 2, np.exp(-(t - 0.35) * 6)) * (1 - t) ** 0.5
        hiss = np.where(t < 0.38, (t / 0.38) ** 6, np.exp(-(t - 0.38) * 4)) * (1 - t)
        for side in (-0.8, 0.8):
            deep, bright = (burst(scene.rng, gains, whole_s, 1e-4, 1e6) for gains in (low, high))
            strew(out, deep * swell * (0.6 + scene.strength), at, size, side)
            strew(out, bright * hiss * 0.8, at + float(scene.rng.uniform(0, 0.15)), size, side)
    bed = noise(scene, [(1, -40), (80, -3), (400, 0), (2000, -9), (20000, -40)])
    return unit(unit(out) + 0.22 * bed)


def stream(scene: Scene) -> FloatArray:
    """Running water: bubbles of many sizes over a soft rush."""
    out = silence(scene)
    kinds = []
    for hz in np.exp(scene.rng.uniform(np.log(350), np.log(2600), 40)):
        t = span(0.08)
        kinds.append(np.sin(2 * np.pi * hz * (t + 2.2 * t**2)) * np.exp(-t * hz / 28) * np.minimum(t / 0.004, 1))
    for at in moments(scene, 70 + 160 * scene.strength, 4.0):
        grain = kinds[int(scene.rng.integers(len(kinds)))]
        strew(out, grain, at, float(scene.rng.exponential(1.0)), float(scene.rng.uniform(-0.8, 0.8)))
    rush = noise(scene, [(1, -60), (150, -14), (700, 0), (3000, -6), (20000, -40)]) * drift(scene, 2, 0.7, 1)
    return unit(unit(out) + (0.35 + 0.9 * scene.strength) * rush)


def drips(scene: Scene) -> FloatArray:
    """Drops into a puddle, in a cave: each one rings as its bubble closes."""
    out = silence(scene)
    for at in moments(scene, 1.3 * scene.pace, 0.8):
        hz = float(scene.rng.uniform(700, 1900))
        t = span(0.16)
        plop = np.sin(2 * np.pi * hz * (t + 1.6 * t**2)) * np.exp(-t * 38) * np.minimum(t / 0.002, 1)
        strew(out, plop, at, float(scene.rng.uniform(0.4, 1)), float(scene.rng.uniform(-0.7, 0.7)))
    return out


def underwater(scene: Scene) -> FloatArray:
    """A deep murmur, and bubbles that rise in little groups."""
    out = silence(scene)
    for at in moments(scene, 0.9 * scene.pace, 1.0):
        hz = float(scene.rng.uniform(250, 700))
        for k in range(int(scene.rng.integers(3, 9))):
            t = span(0.06)
            bubble = (
                np.sin(2 * np.pi * hz * (1 + 0.08 * k) * (t + 3 * t**2)) * np.exp(-t * 50) * np.minimum(t / 0.005, 1)
            )
            strew(out, bubble, at + k * float(scene.rng.uniform(0.04, 0.09)), 0.8, float(scene.rng.uniform(-0.3, 0.3)))
    deep = noise(scene, [(1, -30), (40, 0), (160, -2), (500, -24), (20000, -90)]) * drift(scene, 4, 0.6, 1)
    return unit(0.7 * unit(out) + deep)


def fire(scene: Scene) -> FloatArray:
    """A breathing roar, crackles in flurries, and now and then a log that pops."""
    s = scene.strength
    roar = noise(scene, [(1, -40), (50, 0), (250, -3), (900, -18), (20000, -60)]) * drift(scene, 0.5, 0.5, 1)
    hiss = noise(scene, band(2500, 9000, 9)) * drift(scene, 0.3, 0.2, 1, 2)
    crackles = silence(scene)
    busy = drift(scene, 0.8, 0.05, 1, 2)
    for at in moments(scene, 26 + 40 * s, 4.0):
        if scene.rng.random() < busy[int(at * RATE_HZ) % scene.count]:
            low = float(scene.rng.uniform(900, 4000))
            snap = burst(scene.rng, band(low, low * 3, 12), 0.02, 0.0003, float(scene.rng.uniform(0.003, 0.015)))
            strew(crackles, snap, at, min(float(scene.rng.exponential(0.8)), 2.0), float(scene.rng.uniform(-0.6, 0.6)))
    for at in moments(scene, 0.5, 1.0):
        pop = burst(scene.rng, band(250, 2500, 9), 0.06, 0.0005, 0.04)
        strew(crackles, pop, at, 1.2, float(scene.rng.uniform(-0.4, 0.4)))
    return unit((0.35 + 0.8 * s) * roar + 0.12 * hiss + 0.9 * unit(crackles))
