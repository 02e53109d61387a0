"""A scene as one flat vector of numbers, the only thing the render kernels read.

`scene_vector` turns `Attributes` and a seed into `float64[SIZE]`. Everything that time of day, weather and mood decide
lies in `BLEND`, so dusk can fall by interpolating those entries alone while places and objects stay where they are.
Lengths are metres, colours linear-ish RGB in [0, 1], densities per metre.
"""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from .attributes import Attributes
from .terrain import steepest
from .themes import LOOKS, MOODS_LOOK, TIMES_LOOK, WEATHERS_LOOK

SEED, CELL, DENSITY, AMP, FREQ, SHAPE, SHARP, SLOPE, WATER, CEILING, LAMP = range(11)
GROUND_A, GROUND_B, PATTERN, PATTERN_FREQ, WATER_RGB, GRID, TOP = 11, 14, 17, 18, 19, 22, 23
SUN_DIR, SUN_RGB, AMBIENT, ZENITH, HORIZON, NIGHT, FOG, CLOUD, CLOUD_RGB, FOG_RGB = (
    24,
    27,
    30,
    33,
    36,
    39,
    40,
    41,
    42,
    45,
)
SATURATION, TINT, LIFT = 48, 49, 52
SLOTS, SLOT_SIZE, SLOT_COUNT = 53, 10, 3  # kind, share, size, crown rgb, trunk rgb, glow
SIZE = SLOTS + SLOT_SIZE * SLOT_COUNT
BLEND = slice(SUN_DIR, SLOTS)

Vector = NDArray[np.float64]


def scene_vector(attributes: Attributes, seed: int) -> Vector:
    """The scene of one world, float64[SIZE]. The same arguments give the same world on every machine."""
    rng = random.Random(seed * 7919 + attributes.theme)
    look = LOOKS[attributes.theme]
    p = np.zeros(SIZE)
    p[SEED] = seed % (1 << 31)
    p[CELL] = look.cell_m
    p[DENSITY] = look.density * (0.55 + 0.9 * attributes.density)
    p[AMP] = look.relief_m * (0.45 + 1.1 * attributes.relief)
    p[FREQ], p[SHAPE], p[SHARP] = look.relief_freq, look.shape, look.sharpness
    p[WATER] = look.water_m * (0.45 + 1.1 * attributes.relief) if look.water_m is not None else -1e3
    p[CEILING], p[LAMP], p[PATTERN], p[PATTERN_FREQ] = look.ceiling_m, look.lamp, look.pattern, look.pattern_freq
    shade = rng.uniform(0.88, 1.12)
    p[GROUND_A : GROUND_A + 3] = np.array(look.ground_a) * shade
    p[GROUND_B : GROUND_B + 3] = np.array(look.ground_b) * shade
    p[WATER_RGB : WATER_RGB + 3] = look.water_rgb
    p[GRID] = look.grid
    p[SLOPE] = steepest(p[AMP], p[FREQ], p[SHAPE], p[SHARP], p[SEED])
    _fill_slots(p, look.slots, attributes.variety, rng)
    _fill_sky(p, attributes, rng)
    return p


def _fill_slots(p: Vector, slots: tuple[tuple[float, ...], ...], variety: float, rng: random.Random) -> None:
    shares = [slot[1] * ((0.4 + variety) if i else 1.0) for i, slot in enumerate(slots)]
    for i, slot in enumerate(slots):
        at = SLOTS + i * SLOT_SIZE
        p[at : at + SLOT_SIZE] = slot
        p[at + 1] = shares[i] / sum(shares)
        p[at + 3 : at + 6] *= rng.uniform(0.85, 1.15)


def _fill_sky(p: Vector, attributes: Attributes, rng: random.Random) -> None:
    look = LOOKS[attributes.theme]
    time, weather, mood = TIMES_LOOK[attributes.time], WEATHERS_LOOK[attributes.weather], MOODS_LOOK[attributes.mood]
    azimuth, elevation = rng.uniform(0.0, 2.0 * math.pi), math.radians(time.elevation_deg)
    p[SUN_DIR : SUN_DIR + 3] = (
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
        math.cos(elevation) * math.cos(azimuth),
    )
    p[SUN_RGB : SUN_RGB + 3] = np.array(time.sun_rgb) * time.strength * weather.sun
    grey_sky = weather.grey
    tint = np.array(look.sky_tint)
    for at, colour in ((ZENITH, time.zenith), (HORIZON, time.horizon)):
        tinted = np.array(colour) * tint
        p[at : at + 3] = tinted * (1 - grey_sky) + tinted.mean() * grey_sky * np.array([1.0, 1.01, 1.03])
    p[AMBIENT : AMBIENT + 3] = np.array(time.ambient) * (0.5 + 0.5 * tint) * (1 + 0.35 * grey_sky)
    p[NIGHT], p[FOG], p[CLOUD] = time.night, weather.fog, weather.clouds
    bright = p[HORIZON : HORIZON + 3] * 0.5 + p[SUN_RGB : SUN_RGB + 3] * 0.35 + p[AMBIENT : AMBIENT + 3] * 0.3
    p[CLOUD_RGB : CLOUD_RGB + 3] = np.minimum(bright * (1 - 0.35 * (weather.clouds > 0.8)), 1.0)
    p[FOG_RGB : FOG_RGB + 3] = p[HORIZON : HORIZON + 3] * 0.92
    if look.ceiling_m > 0:  # indoors: no sky, the dark is the fog, the lamp is the sun
        p[FOG_RGB : FOG_RGB + 3] = np.array([0.05, 0.045, 0.04]) + 0.12 * p[HORIZON : HORIZON + 3] * (
            weather.fog > 0.02
        )
        p[SUN_RGB : SUN_RGB + 3] *= 0.0
        p[AMBIENT : AMBIENT + 3] = 0.18 + 0.3 * p[AMBIENT : AMBIENT + 3]
    p[SATURATION], p[LIFT] = mood.saturation, mood.lift
    p[TINT : TINT + 3] = np.array(mood.tint) * mood.gain
