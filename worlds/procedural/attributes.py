"""What a world is made of: the attribute lists that renderer, captions, judge and prompt box share."""

from __future__ import annotations

from dataclasses import dataclass

THEMES = (
    "forest", "desert", "neon city", "snowy pines", "dungeon", "ocean cliffs", "canyon",
    "autumn forest", "moonlit ruins", "tropical island", "suburban town", "alien planet",
)  # fmt: skip
TIMES = ("dawn", "morning", "noon", "golden hour", "dusk", "night")
WEATHERS = ("clear", "cloudy", "overcast", "misty", "foggy", "hazy")
MOODS = ("vivid", "muted", "warm", "cool", "dreamy", "gloomy")


@dataclass(frozen=True, slots=True)
class Attributes:
    """Indices into THEMES, TIMES, WEATHERS, MOODS, and three numbers in [0, 1]."""

    theme: int
    time: int
    weather: int
    mood: int
    density: float  # how many objects
    relief: float  # how hilly
    variety: float  # how mixed the objects are

    def names(self) -> tuple[str, str, str, str]:
        """The four words, e.g. ("forest", "dusk", "foggy", "warm")."""
        return THEMES[self.theme], TIMES[self.time], WEATHERS[self.weather], MOODS[self.mood]
