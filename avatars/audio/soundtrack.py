"""The sound of a film: effects chosen from what it shows and from words, following it from moment to moment.

The viewer of a world reads the place and the time of day, the judge reads walking speed; a table says what is heard
there. Words of the prompt are added, or take over with `only`; words of the negative prompt are left out. The viewer
knows the places of its world: of other films it may be wrong, which the notes say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from ...worlds.media.sound import Sound
from .effect_words import BY_NAME, Asked, UnknownSound, asked_of, unwanted_of
from .effects import LUFS, effect_of
from .effects_life import steps_at
from .loudness import levelled, loudness
from .sightings import Watched
from .spectral import FloatArray, Signal, resampled
from .synthesis import RATE_HZ, Scene

CIRCLE_S = 24.0  # a layer of a longer film goes round this often, without a seam
BLEND_S = 1.5  # from one place's sound to the next
WALKING_MPS = 1.0  # from here on steps are heard
# The worlds' walkers go 7.5 m/s, their usual pace: it is heard as a person's 2.2 steps a second.
STEP_M, STEPS_PER_S = 3.4, (1.3, 3.0)
SHORTEST_S = 0.2

# place -> effect, level in dB, strength
_HEARD: dict[str, tuple[tuple[str, float, float], ...]] = {
    "forest": (("birds", -4, 0.5), ("leaves", -5, 0.4), ("wind", -12, 0.2)),
    "desert": (("wind", 0, 0.45),),
    "neon city": (("traffic", 0, 0.6), ("hum", -14, 0.4), ("crowd", -13, 0.3)),
    "snowy pines": (("wind", 0, 0.55),),
    "dungeon": (("drips", -2, 0.4), ("space hum", -6, 0.3)),
    "ocean cliffs": (("waves", 0, 0.7), ("wind", -6, 0.5), ("seagulls", -12, 0.4)),
    "canyon": (("wind", 0, 0.5), ("birds", -16, 0.1)),
    "autumn forest": (("leaves", 0, 0.5), ("wind", -6, 0.3), ("birds", -10, 0.3)),
    "moonlit ruins": (("crickets", -3, 0.4), ("wind", -4, 0.3), ("owl", -9, 0.4)),
    "tropical island": (("waves", 0, 0.4), ("birds", -6, 0.8)),
    "suburban town": (("traffic", -4, 0.2), ("birds", -3, 0.5)),
    "alien planet": (("space hum", 0, 0.6), ("wind", -7, 0.4)),
}
_AT_NIGHT = {"birds": ("crickets", 0.0), "seagulls": None, "leaves": ("leaves", -4.0)}
_GROUND = {
    "forest": "leaves", "desert": "sand", "neon city": "stone", "snowy pines": "snow", "dungeon": "stone dungeon",
    "ocean cliffs": "grass", "canyon": "gravel", "autumn forest": "leaves", "moonlit ruins": "stone hall",
    "tropical island": "sand", "suburban town": "stone", "alien planet": "gravel",
}  # fmt: skip
_STEPS_DB = -7.0


class NothingSeen(ValueError):
    """Neither the film nor the words say what should be heard."""


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """A film's sound and what was thought about it."""

    sound: Sound
    effects: tuple[str, ...]
    notes: tuple[str, ...]


def sound_of(
    seen: Watched, prompt: str = "", seed: int = 0, negative: str = "", told: Callable[[float], None] | None = None
) -> Soundtrack:
    """The sound of what was watched. `told` hears the share that is done. Raises NothingSeen."""
    notes = list[str]()
    asked, alone = _words(prompt, notes)
    refused = unwanted_of(negative) if negative else frozenset[str]()
    count = max(round(seen.seconds * RATE_HZ), round(SHORTEST_S * RATE_HZ))
    layers = list[tuple[Asked, FloatArray | None]]()
    if not alone:
        layers += _ambience(seen, notes)
    said = {one.known.name for one in asked}
    layers = [layer for layer in layers if layer[0].known.name not in said] + [(one, None) for one in asked]
    layers = [layer for layer in layers if layer[0].known.name not in refused]
    steps = None if alone or refused & {"steps"} or "steps" in said else _steps(seen, count, seed, prompt)
    if not layers and steps is None:
        raise NothingSeen(
            "nothing in the film says what should be heard: the local viewer knows the places of its own world; name "
            "sounds in promptText, e.g. `waves and seagulls`"
        )
    out = np.zeros((2, count))
    for index, (one, course) in enumerate(layers):
        out += _layer(one, course, seen, count, seed)
        if told is not None:
            told((index + 1) / (len(layers) + 1))
    names = [one.known.name for one, _ in layers]
    if steps is not None:
        out += steps * 10 ** (_STEPS_DB / 20)
        names.append("steps")
    return Soundtrack(Sound(levelled(out, RATE_HZ).astype(np.float32), RATE_HZ), tuple(names), tuple(notes))


def _words(prompt: str, notes: list[str]) -> tuple[tuple[Asked, ...], bool]:
    """(what the prompt asks for, whether nothing else shall be heard)."""
    if not prompt.strip():
        return (), False
    try:
        asked = asked_of(prompt)
    except UnknownSound:
        notes.append("no sound is known for the prompt's words; the film's own are heard")
        return (), False
    return asked, " only" in f" {prompt.lower()}"


def _ambience(seen: Watched, notes: list[str]) -> list[tuple[Asked, FloatArray | None]]:
    """What is heard at the places of the film, and how much of it at each sighting."""
    place = seen.place
    if not place:
        notes.append("the viewer is not sure what the film shows")
        return []
    if not seen.familiar:
        notes.append(f"the film looks like {place} to a viewer that has seen little of its kind: it may be wrong")
    courses: dict[str, FloatArray] = {}
    strengths: dict[str, float] = {}
    for index, sighting in enumerate(seen.sightings):
        theme = sighting.theme or place
        for name, level_db, strength in _HEARD[theme]:
            heard = _AT_NIGHT.get(name, (name, 0.0)) if (sighting.time == "night" or seen.night) else (name, 0.0)
            if heard is None:
                continue
            name, level_db = heard[0], level_db + heard[1]
            course = courses.setdefault(name, np.zeros(len(seen.sightings)))
            course[index] = max(course[index], 10 ** (level_db / 20))
            strengths[name] = max(strengths.get(name, 0.0), strength)
    return [
        (Asked(BY_NAME[name], strengths[name], 0.0, 1.0, frozenset(place.split())), course)
        for name, course in courses.items()
        if course.mean() > 0.1 * course.max() or len(course) < 20  # one odd look among many is no place
    ]


def _layer(one: Asked, course: FloatArray | None, seen: Watched, count: int, seed: int) -> FloatArray:
    """One effect over the whole film, louder where its place is seen, a little livelier where the picture moves."""
    circle = min(count, round(CIRCLE_S * RATE_HZ))
    made = effect_of(one, circle, seed, loop=count > circle)
    out = np.tile(made, (1, -(-count // circle)))[:, :count]
    at = np.arange(count) / RATE_HZ
    gain = np.full(count, 10 ** (one.level_db / 20)) if course is None else _blended(course, seen, at)
    if one.known.name in ("wind", "leaves", "whoosh") and seen.bustle:
        moving = np.clip(np.array(seen.bustle) / 0.5, 0, 1)
        gain = gain * 10 ** (np.interp(at, seen.speed_times, moving) * 4 / 20)
    return out * gain


def _blended(course: FloatArray, seen: Watched, at: FloatArray) -> FloatArray:
    times = np.array([s.at_s for s in seen.sightings])
    fine = np.arange(0, seen.seconds + 0.1, 0.1)
    steps = course[np.clip(np.searchsorted(times, fine, "right") - 1, 0, len(course) - 1)]
    width = max(round(BLEND_S / 0.1), 1) | 1
    padded = np.pad(steps, width // 2, mode="edge")
    smooth = np.convolve(padded, np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum(), "valid")
    return np.asarray(np.interp(at, fine[: len(smooth)], smooth), np.float64)


def _steps(seen: Watched, count: int, seed: int, prompt: str) -> FloatArray | None:
    """Footsteps at the pace that is walked, on the ground of the place; None where nobody walks."""
    speeds = np.array(seen.speeds)
    if not len(speeds) or (speeds > WALKING_MPS).mean() < 0.2:
        return None
    per_second = np.where(speeds > WALKING_MPS, np.clip(speeds / STEP_M, *STEPS_PER_S), 0.0)
    at = np.arange(0, seen.seconds, 0.01)
    walked = np.cumsum(np.interp(at, seen.speed_times, per_second)) * 0.01
    whole = np.flatnonzero(np.diff(np.floor(walked + 0.7), prepend=0.0) > 0)
    if not len(whole):
        return None
    rng = np.random.default_rng([seed, int.from_bytes(sha256(b"film steps").digest()[:4], "big")])
    words = frozenset(_GROUND.get(seen.place, "stone").split()) | frozenset(prompt.lower().split())
    made = steps_at(Scene(count, rng, 0.5, 1.0, words), at[whole])
    level = loudness(made, RATE_HZ)
    return made * 10 ** ((LUFS - level) / 20) if level > -70 else None


def beside_speech(effects: Sound, speech: Signal, speech_rate_hz: int, duck_db: float = -9.0) -> Sound:
    """The film's voices, mono or stereo `[channels, n]`, over effects that step back while somebody speaks."""
    voices = resampled(speech, speech_rate_hz, effects.rate_hz)
    count = effects.samples.shape[1]
    voices = np.pad(voices, ((0, 0), (0, max(count - voices.shape[1], 0))))[:, :count]
    if len(voices) == 1:
        voices = np.repeat(voices, 2, 0)
    width = effects.rate_hz // 50
    power = np.square(voices[:2]).mean(0)
    frames = power[: count // width * width].reshape(-1, width).mean(1) if count >= width else np.array([power.mean()])
    talking = frames > max(float(frames.max(initial=0.0)) * 1e-3, 1e-7)
    kernel = np.hanning(27)[1:-1]
    duck = np.minimum(np.convolve(talking.astype(float), kernel / kernel.sum(), "same") * 1.5, 1)
    gain = 10 ** (np.interp(np.arange(count), (np.arange(len(duck)) + 0.5) * width, duck) * duck_db / 20)
    mixed = effects.samples * gain + voices[:2]
    return Sound(levelled(mixed, effects.rate_hz).astype(np.float32), effects.rate_hz)


def variants(seed: int, count: int) -> Sequence[int]:
    """Seeds of variants: the first is the seed itself."""
    return [seed + 7919 * index for index in range(count)]
