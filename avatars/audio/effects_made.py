"""What people made, and what breaks: engines, bells, alarms, blasts. Each function makes `[2, n]` of its scene."""

from __future__ import annotations

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


def traffic(scene: Scene) -> FloatArray:
    """The city's far roar, cars that pass from side to side, and a horn now and then."""
    bed = noise(scene, [(1, -40), (40, 0), (200, -3), (900, -14), (4000, -34), (20000, -70)]) * drift(scene, 3, 0.75, 1)
    cars = silence(scene)
    for at in moments(scene, (0.2 + 0.35 * scene.strength) * scene.pace, 0.9):
        whole_s = float(scene.rng.uniform(3, 5))
        t = span(whole_s)
        near = 1 / (1 + ((t - whole_s / 2) / 0.55) ** 2) * np.sin(np.pi * t / whole_s)
        tyres = burst(
            scene.rng, [(1, -50), (80, -6), (700, 0), (1800, -4), (6000, -22), (20000, -60)], whole_s, 1e-4, 1e6
        )
        way = int(scene.rng.choice((-1, 1))) * np.linspace(-0.9, 0.9, len(t))
        angle = (way + 1) * np.pi / 4
        for channel, side in enumerate((np.cos(angle), np.sin(angle))):
            part = np.zeros((2, scene.count))
            strew(part, tyres * near * side, at)
            cars[channel] += part[0]
    out = bed + 0.9 * unit(cars)
    horns = silence(scene)
    if not scene.says("quiet", "distant", "far", "calm"):
        for at in moments(scene, 0.1 * scene.pace, 1.0):
            t = span(float(scene.rng.uniform(0.25, 0.6)))
            pair = tone(np.full(len(t), 415.0), (1, 0.7, 0.5, 0.3, 0.2)) + tone(
                np.full(len(t), 523.0), (1, 0.7, 0.5, 0.3)
            )
            horn = pair * np.minimum(t / 0.02, 1) * np.minimum((t[-1] - t) / 0.05, 1)
            strew(horns, horn, at, float(scene.rng.uniform(0.1, 0.3)), float(scene.rng.uniform(-0.8, 0.8)))
    return out + room(horns, scene.rng, 1.5, 0.6, 2500)


def engine(scene: Scene) -> FloatArray:
    """A piston engine: firing order, its harmonics, and the intake's breath. `pace` is how fast it turns."""
    idle = scene.says("idle", "idling", "purring")
    turns = (13.0 if idle else 24.0 + 45.0 * scene.strength) * scene.pace
    course = circling(scene, turns * drift(scene, 2.5, 0.97, 1.05 if idle else 1.12))
    firing = tone(course, [1 / k**0.8 * (1.6 if k % 2 == 0 else 0.7) for k in range(1, 34)])
    shaped = spectrum_shaped(firing, RATE_HZ, [(1, -20), (40, 0), (140, 2), (500, -8), (2500, -24), (12000, -60)])
    air = noise(scene, band(120, 1500, 9)) * (1 + 0.8 * np.sin(2 * np.pi * np.cumsum(course) / RATE_HZ))
    return unit(unit(shaped) * np.ones((2, 1)) + 0.25 * air)


def train(scene: Scene) -> FloatArray:
    """Wheels over joints, a rumble, and a whistle where one is asked for."""
    out = silence(scene)
    clack = struck([(180, 1, 0.1), (420, 0.7, 0.07), (1100, 0.4, 0.05), (2600, 0.2, 0.04)], 0.14)
    clack = clack + 0.3 * burst(scene.rng, band(800, 5000), 0.14, 0.0006, 0.04)
    for at in moments(scene, 1.25 * scene.pace, 0.02, early=True):
        for late, gain in ((0.0, 1.0), (0.14, 0.85), (0.36, 0.5), (0.5, 0.45)):
            strew(out, clack, at + late / scene.pace, gain, 0.1)
    rumble = noise(scene, [(1, -30), (35, 0), (140, 0), (600, -14), (3000, -32), (20000, -70)]) * drift(
        scene, 1, 0.8, 1
    )
    out = unit(out) * 0.8 + rumble
    if scene.says("whistle", "horn", "steam"):
        for at in moments(scene, 0.12, 0.5):
            t = span(1.4)
            chord = sum((tone(np.full(len(t), f), (1, 0.5, 0.3, 0.1)) for f in (311.0, 370.0, 466.0)), np.zeros(len(t)))
            strew(out, chord * np.minimum(t / 0.08, 1) * np.minimum((1.4 - t) / 0.25, 1), at, 0.35)
    return room(out, scene.rng, 0.8, 0.2)


def machine(scene: Scene) -> FloatArray:
    """A hall of machines: a hum, a press that falls, air that escapes."""
    hum = tone(circling(scene, np.full(scene.count, 98.0)), [1 / k for k in range(1, 12)]) * np.ones((2, 1))
    out = 0.7 * unit(hum) + 0.5 * noise(scene, band(200, 2500, 8)) * drift(scene, 0.3, 0.7, 1)
    beats = silence(scene)
    for at in moments(scene, 1.5 * scene.pace, 0.02):
        strew(
            beats, struck([(85, 1, 0.15), (240, 0.6, 0.1), (1250, 0.25, 0.12), (2900, 0.12, 0.1)], 0.3), at, 1.0, -0.2
        )
        strew(beats, burst(scene.rng, band(3000, 9000, 12), 0.2, 0.02, 0.15), at + 0.33 / scene.pace, 0.35, 0.4)
    return room(out + 1.2 * unit(beats), scene.rng, 0.9, 0.25)


def space_hum(scene: Scene) -> FloatArray:
    """The drone inside a ship: low chords that beat slowly, and moving air."""
    out = silence(scene)
    for hz in (41.0, 55.2, 82.6, 110.4, 164.9):
        for pan in (-0.7, 0.7):
            course = circling(scene, hz * drift(scene, 6, 0.995, 1.005))
            strew(out, tone(course, (1, 0.3, 0.15)) * drift(scene, 5, 0.3, 1), 0.0, 1 / np.sqrt(hz / 41), pan)
    air = noise(scene, [(1, -40), (90, 0), (400, -8), (2000, -26), (20000, -70)]) * drift(scene, 4, 0.6, 1)
    return unit(unit(out) + 0.35 * air)


def hum(scene: Scene) -> FloatArray:
    """Mains hum: 50 Hz and its harmonics, and a faint buzz."""
    course = circling(scene, np.full(scene.count, 60.0 if scene.says("60hz") else 50.0))
    return unit(tone(course, (0.6, 1, 0.3, 0.5, 0.15, 0.3, 0.1, 0.2, 0.05, 0.12))) * np.ones((2, 1)) + 0.05 * noise(
        scene, band(500, 4000)
    )


def helicopter(scene: Scene) -> FloatArray:
    """Blades: a thud for each, and the turbine above."""
    out = silence(scene)
    chop = burst(scene.rng, [(1, -30), (50, 0), (180, 0), (900, -16), (20000, -60)], 0.09, 0.012, 0.08)
    for at in moments(scene, 11.5 * scene.pace, 0.03):
        strew(out, chop, at, float(scene.rng.uniform(0.9, 1.0)))
    turbine = tone(circling(scene, np.full(scene.count, 1480.0)), (1, 0.4, 0.2)) * np.ones((2, 1))
    return unit(unit(out) + 0.06 * turbine + 0.3 * noise(scene, band(100, 1200, 8)))


def airplane(scene: Scene) -> FloatArray:
    """A jet far above: broad noise whose comb moves as it flies by."""
    jet = noise(scene, [(1, -30), (60, 0), (400, 0), (2000, -14), (9000, -40)], shared=0.6)
    return unit(jet * drift(scene, 3, 0.6, 1) + 0.6 * np.roll(jet, 190, 1))


def clock(scene: Scene) -> FloatArray:
    """Tick and tock, one a second."""
    out = silence(scene)
    for index, at in enumerate(moments(scene, scene.pace, 0.0, early=True)):
        hz = 2150.0 if index % 2 else 1750.0
        strew(out, struck([(hz, 1, 0.03), (hz * 2.3, 0.5, 0.02), (420, 0.5, 0.05)], 0.08), at, 1.0, 0.05)
    return room(out, scene.rng, 0.4, 0.15)


def alarm(scene: Scene) -> FloatArray:
    """Two tones in turn; a siren glides instead, and a beep stays on one."""
    at = np.arange(scene.count) / RATE_HZ
    turns = max(
        round(scene.seconds * scene.pace * (0.25 if scene.says("siren", "sirens", "police", "ambulance") else 1.25)), 1
    )
    phase = at / scene.seconds * turns
    if scene.says("siren", "sirens", "police", "ambulance"):
        course = 850 + 350 * np.sin(2 * np.pi * phase - np.pi / 2)
    else:
        course = np.where(phase % 1 < 0.5, 960.0, 770.0)
    voice = tone(circling(scene, course), (1, 0, 0.33, 0, 0.2, 0, 0.1))
    if scene.says("beep", "beeps", "beeping"):
        gate = np.clip(np.minimum(phase % 0.5, 0.3 - phase % 0.5) * 60, 0, 1)
        voice = tone(circling(scene, np.full(scene.count, 1000.0)), (1, 0.1)) * gate
    return room(voice * np.ones((2, 1)), scene.rng, 0.8, 0.2)


def bells(scene: Scene) -> FloatArray:
    """A church bell: hum, prime, tierce, quint, nominal (the partials of a minor-third bell)."""
    out = silence(scene)
    base = float(scene.rng.uniform(210, 300))
    partials = (
        (0.5, 0.6, 9),
        (1, 1, 6),
        (1.2, 0.7, 4.5),
        (1.5, 0.35, 3.5),
        (2, 0.9, 3),
        (2.67, 0.3, 1.6),
        (4.1, 0.15, 0.9),
    )
    stroke = struck([(base * r, g, d) for r, g, d in partials], min(8.0, max(scene.seconds, 1.0)))
    for at in moments(scene, 0.55 * scene.pace, 0.04, early=True):
        strew(out, stroke, at, float(scene.rng.uniform(0.8, 1.0)), float(scene.rng.uniform(-0.15, 0.15)))
    return room(out, scene.rng, 2.0, 0.2)


def chimes(scene: Scene) -> FloatArray:
    """Tubes in the wind, on a pentatonic scale; the partials are those of a free bar."""
    out = silence(scene)
    tubes = [784 * r for r in (1, 9 / 8, 5 / 4, 3 / 2, 5 / 3, 2)]
    busy = drift(scene, 2.0, 0.1, 1, 1.5)
    for at in moments(scene, (1.6 + 3 * scene.strength) * scene.pace, 1.5):
        if scene.rng.random() < busy[int(at * RATE_HZ) % scene.count]:
            which = int(scene.rng.integers(len(tubes)))
            hz = tubes[which]
            note = struck([(hz, 1, 3.0), (hz * 2.756, 0.5, 1.4), (hz * 5.404, 0.2, 0.5)], 3.2)
            strew(out, note, at, float(scene.rng.uniform(0.3, 1)), which / 3 - 0.8)
    return room(out, scene.rng, 1.5, 0.2, 8000)


def gong(scene: Scene) -> FloatArray:
    """Many inharmonic modes whose high ones wake late."""
    out = silence(scene)
    long_s = min(7.0, max(scene.seconds, 1.0))
    for at in moments(scene, 0.14 * scene.pace, 0.2, early=True):
        modes = [(float(70 * k**1.22 * scene.rng.uniform(0.97, 1.03)), 1 / k**0.5, 9 / k**0.4) for k in range(1, 30)]
        late = np.minimum(span(long_s) / 0.12, 1) ** 0.5
        strew(out, struck(modes, long_s)[: len(late)] * late, at)
    return room(out, scene.rng, 2.0, 0.2)


def glass(scene: Scene) -> FloatArray:
    """A pane: the blow, and shards that fall and ring."""
    out = silence(scene)
    for at in moments(scene, 0.18 * scene.pace, 0.3, early=True):
        strew(out, burst(scene.rng, band(1500, 12000, 6), 0.25, 0.0005, 0.15), at, 2.2)
        for late in scene.rng.exponential(0.28, 50 + round(60 * scene.strength)):
            hz = float(np.exp(scene.rng.uniform(np.log(2200), np.log(9500))))
            shard = struck([(hz, 1, 0.22), (hz * 1.53, 0.5, 0.12), (hz * 2.31, 0.3, 0.08)], 0.25, 0.0003)
            strew(
                out, shard, at + min(late, 1.8), float(scene.rng.exponential(0.35)), float(scene.rng.uniform(-0.8, 0.8))
            )
    return room(out, scene.rng, 0.6, 0.15, 9000)


def explosion(scene: Scene) -> FloatArray:
    """A blow, a fireball's roar that darkens, debris."""
    out = silence(scene)
    long_s = min(4.0, max(scene.seconds, 0.8))
    for at in moments(scene, 0.16 * scene.pace, 0.3, early=True):
        t = span(long_s)
        boom = np.sin(2 * np.pi * (28 * t + 45 * 0.12 * (1 - np.exp(-t / 0.12)))) * np.exp(-t / 0.5)
        for side in (-0.7, 0.7):
            roar = burst(
                scene.rng, [(1, -30), (30, 0), (160, 0), (900, -14), (20000, -55)], long_s, 0.004, long_s * 0.8
            )
            strew(out, roar, at, 0.8, side)
        crack = burst(scene.rng, band(300, 9000, 5), 0.3, 0.0005, 0.2)
        strew(out, 1.6 * boom, at)
        strew(out, crack, at, 1.4)
        for late in scene.rng.uniform(0.3, max(long_s * 0.8, 0.4), 30):
            bit = burst(scene.rng, band(600, 5000, 9), 0.05, 0.001, 0.04)
            strew(out, bit, at + late, float(scene.rng.exponential(0.15)), float(scene.rng.uniform(-0.9, 0.9)))
    return room(out, scene.rng, 2.0, 0.2, 2500)


def whoosh(scene: Scene) -> FloatArray:
    """Something passes close by: noise whose band rises and falls, from one side to the other."""
    out = silence(scene)
    for at in moments(scene, 0.7 * scene.pace, 0.3, early=True):
        whole_s = min(0.7 / max(scene.pace, 0.3), max(scene.seconds, 0.3))
        t = span(whole_s) / whole_s
        swell = np.exp(-(((t - 0.55) / 0.17) ** 2))
        layers = [burst(scene.rng, band(f, f * 1.8, 14), whole_s, 1e-4, 1e6) for f in (250, 700, 1700)]
        weights = [np.exp(-(((t - m) / 0.2) ** 2)) for m in (0.75, 0.6, 0.52)]
        body = sum((x[: len(t)] * w for x, w in zip(layers, weights, strict=True)), np.zeros(len(t))) * swell
        way = int(scene.rng.choice((-1, 1)))
        strew(out, body * (1 - t), at, 1.0, -0.8 * way)
        strew(out, body * t, at, 1.0, 0.8 * way)
    return out


def clang(scene: Scene) -> FloatArray:
    """Steel on steel."""
    out = silence(scene)
    for at in moments(scene, 0.8 * scene.pace, 0.6, early=True):
        base = float(scene.rng.uniform(800, 1500))
        modes = [
            (base * r * float(scene.rng.uniform(0.98, 1.02)), 1 / (k + 1) ** 0.5, 0.9)
            for k, r in enumerate((1, 1.51, 2.3, 3.17, 4.4, 6.1))
        ]
        strew(
            out, struck(modes, 1.0, 0.0004), at, float(scene.rng.uniform(0.6, 1)), float(scene.rng.uniform(-0.4, 0.4))
        )
    return room(out, scene.rng, 0.8, 0.2, 8000)


def drum(scene: Scene) -> FloatArray:
    """A big drum, beaten steadily."""
    out = silence(scene)
    for index, at in enumerate(moments(scene, 1.6 * scene.pace, 0.02, early=True)):
        skin = struck([(62, 1, 0.7), (98, 0.6, 0.4), (141, 0.4, 0.3), (205, 0.2, 0.2)], 0.7, 0.002)
        hit = burst(scene.rng, band(200, 2500, 9), 0.7, 0.0008, 0.03)
        strew(out, skin + 0.25 * hit, at, 1.0 if index % 4 == 0 else 0.65)
    return room(out, scene.rng, 1.0, 0.2)
