"""What lives: birds, insects, people and their steps. Each function makes `[2, n]` of its scene; see `synthesis.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .spectral import FloatArray, spectrum_shaped
from .synthesis import (
    RATE_HZ,
    Scene,
    band,
    burst,
    circling,
    drift,
    moments,
    noise,
    room,
    silence,
    span,
    strew,
    struck,
    tone,
    unit,
)


def birds(scene: Scene) -> FloatArray:
    """A few singers, each with a phrase of its own that it repeats."""
    out = silence(scene)
    singers = 2 + round(4 * scene.strength)
    for _ in range(singers):
        phrase = _phrase(scene)
        pan, far = float(scene.rng.uniform(-0.9, 0.9)), float(scene.rng.uniform(0.3, 1))
        for at in moments(scene, 0.32 * scene.pace, 0.9):
            strew(out, phrase, at, far, pan)
    return room(out, scene.rng, 1.2, 0.3, 7000)


def _phrase(scene: Scene) -> FloatArray:
    middle = float(scene.rng.uniform(2400, 5200))
    notes = []
    kind = int(scene.rng.integers(3))
    for _ in range(int(scene.rng.integers(2, 7))):
        t = span(float(scene.rng.uniform(0.05, 0.16)))
        part = t / t[-1]
        hz = middle * (1 + scene.rng.uniform(-0.25, 0.25))
        if kind == 0:  # a slide
            course = hz * (1 + scene.rng.uniform(-0.3, 0.3) * part)
        elif kind == 1:  # a trill
            course = hz * (1 + 0.08 * np.sin(2 * np.pi * scene.rng.uniform(25, 55) * t))
        else:  # an arch
            course = hz * (1 + 0.25 * np.sin(np.pi * part))
        notes += [
            tone(course, (1, 0.12)) * np.abs(np.sin(np.pi * part)) ** 0.7,
            np.zeros(int(scene.rng.uniform(0.02, 0.09) * RATE_HZ)),
        ]
    return np.concatenate(notes)


def seagulls(scene: Scene) -> FloatArray:
    """Falling, hoarse cries."""
    out = silence(scene)
    for at in moments(scene, 0.3 * scene.pace, 1.0, early=True):
        pan = float(scene.rng.uniform(-0.8, 0.8))
        for k in range(int(scene.rng.integers(2, 5))):
            t = span(0.38)
            course = float(scene.rng.uniform(1150, 1400)) * (
                1 + 0.35 * np.sin(np.pi * np.minimum(t / 0.3, 1)) - 0.2 * t / 0.38
            )
            cry = tone(course, (1, 0.8, 0.5, 0.3, 0.15)) * np.sqrt(np.abs(np.sin(np.pi * t / t[-1])))
            strew(out, cry, at + k * 0.46, 0.8, pan)
    return room(out, scene.rng, 1.5, 0.35)


def owl(scene: Scene) -> FloatArray:
    """Hoots in a rhythm of their own."""
    out = silence(scene)
    for at in moments(scene, 0.18 * scene.pace, 0.6, early=True):
        for late, long_s in ((0.0, 0.35), (0.75, 0.16), (1.0, 0.16), (1.25, 0.55)):
            t = span(long_s)
            course = 370 * (1 + 0.05 * np.sin(np.pi * t / t[-1]))
            strew(out, tone(course, (1, 0.15, 0.05)) * np.sin(np.pi * t / t[-1]), at + late, 1.0, 0.3)
    return room(out, scene.rng, 1.8, 0.4, 2500)


def crickets(scene: Scene) -> FloatArray:
    """Chirps of three pulses from several insects, a little apart in pitch and pace."""
    out = silence(scene)
    for _ in range(3 + round(4 * scene.strength)):
        hz = float(scene.rng.uniform(3900, 5100))
        t = span(0.018)
        pulse = np.sin(2 * np.pi * hz * t) * np.sin(np.pi * t / t[-1])
        chirp = np.zeros(int(0.085 * RATE_HZ))
        for k in range(3):
            start = int(k * 0.028 * RATE_HZ)
            chirp[start : start + len(pulse)] += pulse
        pan, far = float(scene.rng.uniform(-1, 1)), float(scene.rng.uniform(0.25, 1))
        shift = float(scene.rng.uniform(0, 1))
        for at in moments(scene, float(scene.rng.uniform(1.5, 2.6)) * scene.pace, 0.12):
            strew(out, chirp, at + shift, far, pan)
    bed = noise(scene, band(3800, 6500, 24)) * drift(scene, 3, 0.7, 1)
    return unit(unit(out) + 0.12 * bed)


def frogs(scene: Scene) -> FloatArray:
    """Croaks: trains of pulses through a throat."""
    out = silence(scene)
    for _ in range(2 + round(3 * scene.strength)):
        rate, throat = float(scene.rng.uniform(28, 60)), float(scene.rng.uniform(350, 1200))
        t = span(float(scene.rng.uniform(0.25, 0.6)))
        pulses = (np.sin(2 * np.pi * rate * t) > 0.6).astype(float)
        croak = spectrum_shaped(np.diff(pulses, prepend=0.0), RATE_HZ, band(throat, throat * 1.8, 20))
        croak = unit(croak) * np.sin(np.pi * t / t[-1])
        pan, far = float(scene.rng.uniform(-0.9, 0.9)), float(scene.rng.uniform(0.3, 1))
        for at in moments(scene, 0.7 * scene.pace, 0.8):
            strew(out, croak, at, far, pan)
    return out


def leaves(scene: Scene) -> FloatArray:
    """Foliage in a breeze."""
    gusts = drift(scene, 1.6, 0.1, 1, 2)
    flutter = drift(scene, 0.06, 0.3, 1)
    return unit(noise(scene, [(1, -60), (500, -20), (2500, -3), (6000, 0), (14000, -6)], shared=0.1) * gusts * flutter)


def steps(scene: Scene) -> FloatArray:
    """Footsteps, left and right, on what the words name: gravel, snow, wood, leaves, grass, sand, mud, water, metal,
    stone."""
    per_second = 1.85 * scene.pace
    if scene.says("running", "run", "runs", "jogging", "sprinting", "hurried"):
        per_second *= 1.5
    return steps_at(scene, moments(scene, per_second, 0.07, early=True))


def steps_at(scene: Scene, moments_s: Sequence[float] | FloatArray) -> FloatArray:
    """Footsteps at given moments."""
    out = silence(scene)
    for index, at in enumerate(moments_s):
        heel, toe = _step(scene), _step(scene)
        pan, size = (-0.18 if index % 2 else 0.18), float(scene.rng.uniform(0.8, 1.05))
        strew(out, heel, at, size, pan)
        strew(out, toe, at + float(scene.rng.uniform(0.07, 0.1)), size * 0.55, pan)
    inside = scene.says("hall", "corridor", "cave", "dungeon", "cathedral", "tunnel", "church")
    return room(out, scene.rng, 1.6 if inside else 0.35, 0.35 if inside else 0.1)


def _step(scene: Scene) -> FloatArray:
    rng = scene.rng
    thud = struck([(float(rng.uniform(70, 95)), 1.0, 0.09), (float(rng.uniform(140, 190)), 0.5, 0.05)], 0.14)
    for words, (low, high, grains, long_s, soft) in _GROUNDS:
        if scene.says(*words):
            return _crunch(rng, low, high, grains, long_s) + soft * _padded(thud, long_s)
    if scene.says("wood", "wooden", "floorboards", "parquet", "boards", "planks", "deck"):
        body = [(float(rng.uniform(180, 230)), 1.0, 0.12), (float(rng.uniform(400, 480)), 0.6, 0.08), (900, 0.25, 0.05)]
        return struck(body, 0.2) + 0.15 * burst(rng, band(1500, 5000), 0.2, 0.001, 0.02)
    if scene.says("metal", "metallic", "grating", "steel"):
        body = [
            (float(f * rng.uniform(0.98, 1.02)), 1 / (k + 1), 0.5) for k, f in enumerate((310, 745, 1290, 2130, 3400))
        ]
        return struck(body, 0.6)
    tap = burst(rng, band(900, 4500, 9), 0.14, 0.0008, 0.03)  # stone, tiles, asphalt
    return 0.8 * thud + 0.35 * tap


# words | lowest and highest Hz, grains, seconds, how much of the thud is heard
_GROUNDS = (
    (("gravel", "pebbles", "rocks", "shingle"), (900.0, 7000.0, 34, 0.22, 0.35)),
    (("snow", "snowy", "ice", "icy"), (350.0, 3200.0, 60, 0.3, 0.3)),
    (("leaves", "forest", "foliage", "autumn"), (1800.0, 9000.0, 40, 0.26, 0.25)),
    (("grass", "meadow", "lawn"), (1200.0, 6000.0, 50, 0.24, 0.3)),
    (("sand", "sandy", "beach", "desert", "dune", "dunes"), (500.0, 4500.0, 80, 0.26, 0.3)),
    (("mud", "muddy", "swamp"), (150.0, 1400.0, 16, 0.28, 0.6)),
    (("water", "puddle", "puddles", "wading"), (500.0, 5500.0, 26, 0.32, 0.25)),
)  # fmt: skip


def _crunch(rng: np.random.Generator, low: float, high: float, grains: int, long_s: float) -> FloatArray:
    """Many small breaks under one foot."""
    out = np.zeros(int(long_s * RATE_HZ))
    for at in rng.beta(1.6, 3.0, grains) * (long_s - 0.03):
        hz = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        grain = burst(rng, band(hz, hz * 1.5, 12), 0.025, 0.0005, float(rng.uniform(0.006, 0.025)))
        start = int(at * RATE_HZ)
        out[start : start + len(grain)] += grain[: len(out) - start] * float(rng.exponential(0.25))
    return out


def _padded(grain: FloatArray, seconds: float) -> FloatArray:
    count = int(seconds * RATE_HZ)
    return np.pad(grain, (0, max(count - len(grain), 0)))[:count]


def crowd(scene: Scene) -> FloatArray:
    """Murmur: many throats, each a buzz whose vowels move at the pace of syllables. No words are said."""
    out = silence(scene)
    for _ in range(10 + round(14 * scene.strength)):
        f0 = float(scene.rng.choice((scene.rng.uniform(95, 140), scene.rng.uniform(170, 240))))
        melody = circling(scene, f0 * drift(scene, 0.5, 0.88, 1.15))
        voice = tone(melody, [1 / k for k in range(1, 15)])
        talking = np.clip((drift(scene, 2.5) - 0.3) * 6, 0, 1)
        syllables = drift(scene, 0.22, 0, 1, 2) * talking
        first, second = float(scene.rng.uniform(350, 750)), float(scene.rng.uniform(1000, 1900))
        gains = [(1.0, -50.0), (first * 0.6, -12.0), (first, 0.0), (first * 1.5, -12.0), (second, -8.0)]
        shaped = spectrum_shaped(voice * syllables, RATE_HZ, [*gains, (second * 1.6, -22.0), (12000.0, -50.0)])
        start_s = float(scene.rng.uniform(0, scene.seconds))  # or all voices would begin together
        strew(out, shaped, start_s, 1.0, float(scene.rng.uniform(-0.9, 0.9)))
    bed = noise(scene, [(1, -50), (150, -6), (500, 0), (1800, -10), (8000, -36)]) * drift(scene, 0.4, 0.6, 1)
    return room(unit(unit(out) + 0.4 * bed), scene.rng, 0.9, 0.35, 3000)


def applause(scene: Scene) -> FloatArray:
    """Hands of many people, everyone at their own pace."""
    out = silence(scene)
    people = 14 + round(50 * scene.strength)
    claps = [burst(scene.rng, band(f, f * 2.2, 10), 0.05, 0.0005, 0.03) for f in scene.rng.uniform(700, 1600, 20)]
    for _ in range(people):
        clap, pan = claps[int(scene.rng.integers(20))], float(scene.rng.uniform(-1, 1))
        gain, shift = float(scene.rng.uniform(0.3, 1)), float(scene.rng.uniform(0, 1))
        for at in moments(scene, float(scene.rng.uniform(2.6, 4.4)), 0.3):
            strew(out, clap, at + shift, gain, pan)
    return room(unit(out), scene.rng, 1.1, 0.3)


def heartbeat(scene: Scene) -> FloatArray:
    """Two beats, the second softer; fear quickens it."""
    out = silence(scene)
    per_second = 1.1 * scene.pace * (1 + 0.5 * max(scene.strength - 0.5, 0))
    for at in moments(scene, per_second, 0.03, early=True):
        for late, hz, gain in ((0.0, 52.0, 1.0), (0.27, 66.0, 0.7)):
            strew(out, struck([(hz, 1, 0.2), (hz * 2.1, 0.35, 0.1)], 0.25, 0.008), at + late, gain)
    return out


def knock(scene: Scene) -> FloatArray:
    """Knuckles on a door, three or four times, then a wait."""
    out = silence(scene)
    wood = [
        (float(f * scene.rng.uniform(0.95, 1.05)), g, d)
        for f, g, d in ((165, 1, 0.16), (330, 0.6, 0.1), (720, 0.3, 0.06))
    ]
    blow = struck(wood, 0.25) + 0.2 * burst(scene.rng, band(1500, 5000), 0.25, 0.0005, 0.012)
    for at in moments(scene, 1 / 3.0, 0.2, early=True):
        for k in range(int(scene.rng.integers(3, 5))):
            strew(out, blow, at + 0.24 * k / scene.pace, float(scene.rng.uniform(0.8, 1)), 0.1)
    return room(out, scene.rng, 0.5, 0.2)


def typing(scene: Scene) -> FloatArray:
    """Keys of a keyboard in bursts."""
    out = silence(scene)
    keys = [burst(scene.rng, band(f, f * 2.5, 9), 0.03, 0.0004, 0.018) for f in scene.rng.uniform(1100, 2600, 12)]
    busy = drift(scene, 1.2, 0, 1)
    for at in moments(scene, 8 * scene.pace, 0.7):
        if busy[int(at * RATE_HZ) % scene.count] > 0.3:
            strew(
                out,
                keys[int(scene.rng.integers(12))],
                at,
                float(scene.rng.uniform(0.5, 1)),
                float(scene.rng.uniform(-0.3, 0.3)),
            )
    return room(out, scene.rng, 0.3, 0.15)
