"""The look of each theme, time of day, weather and mood, as data. Colours are RGB in [0, 1], lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]

# object kinds, see objects.py
CONIFER, BROADLEAF, ROCK, CACTUS, PALM, PILLAR, BUILDING, WALL, MESA, CRYSTAL, LAMP_POST = map(float, range(11))
SMOOTH, RIDGED, TERRACED = 0.0, 1.0, 2.0  # terrain shapes
BLOTCHES, STREETS, TILES = 0.0, 1.0, 2.0  # ground patterns

DARK_WOOD: RGB = (0.26, 0.17, 0.11)
STONE: RGB = (0.5, 0.49, 0.46)


def slot(kind: float, share: float, size: float, crown: RGB, trunk: RGB, glow: float = 0.0) -> tuple[float, ...]:
    """One object kind of a theme: its share of the objects, its scale, its two colours, its own light."""
    return (kind, share, size, *crown, *trunk, glow)


@dataclass(frozen=True, slots=True)
class ThemeLook:
    ground_a: RGB
    ground_b: RGB
    slots: tuple[tuple[float, ...], ...]
    cell_m: float = 6.0
    density: float = 0.45  # chance that a cell holds an object
    relief_m: float = 1.6
    relief_freq: float = 0.035  # waves per metre
    shape: float = SMOOTH
    sharpness: float = 1.0
    water_m: float | None = None
    water_rgb: RGB = (0.1, 0.3, 0.42)
    ceiling_m: float = 0.0
    lamp: float = 0.0
    pattern: float = BLOTCHES
    pattern_freq: float = 0.11
    grid: float = 0.0  # > 0: objects stand in city blocks of this many cells, streets between
    sky_tint: RGB = (1.0, 1.0, 1.0)


LOOKS = (
    ThemeLook(  # forest
        (0.25, 0.42, 0.13), (0.37, 0.48, 0.17),
        (slot(CONIFER, 0.6, 1.0, (0.10, 0.34, 0.15), DARK_WOOD),
         slot(BROADLEAF, 0.3, 1.0, (0.26, 0.48, 0.15), DARK_WOOD),
         slot(ROCK, 0.1, 0.8, STONE, STONE)),
        cell_m=5.5, density=0.55,
    ),
    ThemeLook(  # desert
        (0.83, 0.60, 0.34), (0.90, 0.70, 0.44),
        (slot(CACTUS, 0.6, 1.0, (0.27, 0.43, 0.20), (0.27, 0.43, 0.20)),
         slot(ROCK, 0.4, 0.9, (0.62, 0.36, 0.22), STONE),
         slot(MESA, 0.05, 0.7, (0.76, 0.44, 0.25), (0.64, 0.35, 0.2))),
        cell_m=6.5, density=0.42, relief_m=1.4, relief_freq=0.028,
    ),
    ThemeLook(  # neon city
        (0.13, 0.13, 0.16), (0.17, 0.16, 0.20),
        (slot(BUILDING, 0.85, 1.25, (0.13, 0.14, 0.22), (0.2, 0.85, 0.95), 1.0),
         slot(LAMP_POST, 0.15, 1.0, (0.98, 0.3, 0.75), (0.15, 0.15, 0.18), 1.0),
         slot(BUILDING, 0.4, 0.9, (0.20, 0.12, 0.22), (0.98, 0.85, 0.3), 1.0)),
        cell_m=7.0, density=0.85, relief_m=0.0, pattern=STREETS, grid=3.0, sky_tint=(0.75, 0.6, 1.0),
    ),
    ThemeLook(  # snowy pines
        (0.87, 0.90, 0.94), (0.78, 0.83, 0.90),
        (slot(CONIFER, 0.8, 1.15, (0.38, 0.48, 0.48), DARK_WOOD), slot(ROCK, 0.1, 0.8, (0.80, 0.83, 0.86), STONE),
         slot(CONIFER, 0.2, 0.6, (0.75, 0.81, 0.84), DARK_WOOD)),
        cell_m=6.0, density=0.42, relief_m=2.2, relief_freq=0.03, sky_tint=(0.95, 1.0, 1.04),
    ),
    ThemeLook(  # dungeon
        (0.40, 0.33, 0.25), (0.33, 0.27, 0.21),
        (slot(WALL, 0.8, 1.0, (0.46, 0.37, 0.28), (0.30, 0.24, 0.18)),
         slot(PILLAR, 0.25, 1.0, (0.42, 0.37, 0.31), (0.42, 0.37, 0.31)),
         slot(LAMP_POST, 0.1, 0.75, (1.0, 0.62, 0.2), DARK_WOOD, 1.0)),
        cell_m=4.5, density=0.40, relief_m=0.0, ceiling_m=3.6, lamp=1.0, pattern=TILES,
    ),
    ThemeLook(  # ocean cliffs
        (0.40, 0.50, 0.22), (0.50, 0.52, 0.30),
        (slot(BROADLEAF, 0.4, 0.8, (0.30, 0.46, 0.20), DARK_WOOD), slot(ROCK, 0.45, 1.2, (0.58, 0.54, 0.48), STONE),
         slot(CONIFER, 0.15, 0.7, (0.22, 0.38, 0.20), DARK_WOOD)),
        cell_m=7.0, density=0.35, relief_m=5.5, relief_freq=0.021, shape=TERRACED, sharpness=2.6, water_m=-1.2,
        water_rgb=(0.10, 0.30, 0.42),
    ),
    ThemeLook(  # canyon
        (0.78, 0.42, 0.22), (0.86, 0.53, 0.30),
        (slot(MESA, 0.55, 1.0, (0.77, 0.40, 0.21), (0.60, 0.29, 0.16)),
         slot(ROCK, 0.35, 1.2, (0.66, 0.34, 0.19), STONE),
         slot(CACTUS, 0.2, 0.7, (0.36, 0.42, 0.20), (0.36, 0.42, 0.20))),
        cell_m=8.0, density=0.45, relief_m=5.0, relief_freq=0.022, shape=TERRACED, sharpness=2.8,
    ),
    ThemeLook(  # autumn forest
        (0.47, 0.33, 0.15), (0.56, 0.41, 0.18),
        (slot(BROADLEAF, 0.5, 1.1, (0.78, 0.34, 0.10), DARK_WOOD),
         slot(BROADLEAF, 0.35, 0.9, (0.85, 0.58, 0.14), DARK_WOOD),
         slot(CONIFER, 0.15, 0.9, (0.33, 0.36, 0.14), DARK_WOOD)),
        cell_m=6.0, density=0.5,
    ),
    ThemeLook(  # moonlit ruins
        (0.30, 0.36, 0.28), (0.38, 0.41, 0.36),
        (slot(PILLAR, 0.45, 1.1, (0.62, 0.62, 0.60), (0.62, 0.62, 0.60)),
         slot(WALL, 0.3, 0.8, (0.52, 0.52, 0.50), (0.42, 0.42, 0.42)),
         slot(CONIFER, 0.25, 1.0, (0.14, 0.30, 0.22), DARK_WOOD)),
        cell_m=6.0, density=0.45, relief_m=0.9, pattern=TILES, sky_tint=(0.85, 0.92, 1.1),
    ),
    ThemeLook(  # tropical island
        (0.88, 0.80, 0.58), (0.42, 0.62, 0.24),
        (slot(PALM, 0.65, 1.0, (0.20, 0.55, 0.20), (0.48, 0.36, 0.24)),
         slot(ROCK, 0.15, 0.8, (0.55, 0.53, 0.50), STONE),
         slot(BROADLEAF, 0.2, 0.6, (0.25, 0.58, 0.22), DARK_WOOD)),
        cell_m=6.5, density=0.45, relief_m=2.2, relief_freq=0.024, water_m=-0.35, water_rgb=(0.08, 0.50, 0.60),
    ),
    ThemeLook(  # suburban town
        (0.33, 0.50, 0.22), (0.40, 0.55, 0.26),
        (slot(BUILDING, 0.6, 0.55, (0.78, 0.70, 0.60), (0.45, 0.53, 0.62), 0.15),
         slot(BROADLEAF, 0.3, 0.7, (0.25, 0.48, 0.18), DARK_WOOD),
         slot(LAMP_POST, 0.12, 0.9, (1.0, 0.9, 0.65), (0.3, 0.3, 0.3), 0.6)),
        cell_m=7.0, density=0.7, relief_m=0.0, pattern=STREETS, grid=3.0,
    ),
    ThemeLook(  # alien planet
        (0.42, 0.18, 0.52), (0.52, 0.25, 0.58),
        (slot(CRYSTAL, 0.45, 1.0, (0.15, 0.62, 0.58), (0.15, 0.5, 0.5), 0.35),
         slot(BROADLEAF, 0.35, 0.9, (0.85, 0.20, 0.52), (0.35, 0.15, 0.4)),
         slot(ROCK, 0.2, 1.0, (0.30, 0.16, 0.46), STONE)),
        cell_m=6.0, density=0.45, relief_m=2.0, sky_tint=(1.2, 0.6, 1.0),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeLook:
    elevation_deg: float
    sun_rgb: RGB
    strength: float
    ambient: RGB
    zenith: RGB
    horizon: RGB
    night: float = 0.0  # 1: stars, lit windows


TIMES_LOOK = (
    TimeLook(9, (1.0, 0.74, 0.56), 0.75, (0.42, 0.38, 0.44), (0.38, 0.44, 0.66), (0.96, 0.76, 0.66), 0.1),  # dawn
    TimeLook(30, (1.0, 0.95, 0.82), 0.85, (0.40, 0.43, 0.48), (0.28, 0.50, 0.84), (0.78, 0.88, 0.96)),  # morning
    TimeLook(60, (1.0, 1.0, 0.95), 0.95, (0.42, 0.45, 0.48), (0.18, 0.44, 0.86), (0.68, 0.84, 0.97)),  # noon
    TimeLook(15, (1.0, 0.72, 0.38), 0.95, (0.44, 0.38, 0.34), (0.45, 0.52, 0.70), (1.0, 0.80, 0.50)),  # golden hour
    TimeLook(7, (1.0, 0.46, 0.36), 0.60, (0.32, 0.27, 0.38), (0.27, 0.24, 0.48), (0.92, 0.47, 0.40), 0.35),  # dusk
    TimeLook(42, (0.50, 0.62, 0.92), 0.35, (0.13, 0.16, 0.25), (0.02, 0.03, 0.10), (0.10, 0.14, 0.26), 1.0),  # night
)


@dataclass(frozen=True, slots=True)
class WeatherLook:
    fog: float  # extinction per metre
    sun: float  # share of the sun that comes through
    clouds: float  # cover
    grey: float  # how far the sky loses its colour


WEATHERS_LOOK = (
    WeatherLook(0.004, 1.0, 0.30, 0.0),  # clear
    WeatherLook(0.006, 0.9, 0.58, 0.1),  # cloudy
    WeatherLook(0.009, 0.35, 0.92, 0.65),  # overcast
    WeatherLook(0.026, 0.6, 0.45, 0.40),  # misty
    WeatherLook(0.055, 0.3, 0.70, 0.70),  # foggy
    WeatherLook(0.016, 0.75, 0.20, 0.25),  # hazy
)


@dataclass(frozen=True, slots=True)
class MoodLook:
    saturation: float
    tint: RGB
    gain: float
    lift: float = 0.0


MOODS_LOOK = (
    MoodLook(1.35, (1.0, 1.0, 1.0), 1.03),  # vivid
    MoodLook(0.62, (1.0, 1.0, 1.0), 1.0, 0.02),  # muted
    MoodLook(1.05, (1.09, 1.0, 0.86), 1.0),  # warm
    MoodLook(1.0, (0.88, 0.99, 1.12), 1.0),  # cool
    MoodLook(0.85, (1.06, 0.97, 1.08), 1.0, 0.06),  # dreamy
    MoodLook(0.78, (0.96, 0.98, 1.0), 0.76),  # gloomy
)
