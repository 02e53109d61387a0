"""Sound effects from words: `rendered("heavy rain and distant thunder", 10)`. Procedural; nothing is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from ...worlds.media.sound import Sound
from .effect_words import Asked, asked_of, unwanted_of
from .loudness import levelled, loudness
from .spectral import FloatArray
from .synthesis import RATE_HZ, Scene, unit

SHORTEST_S, LONGEST_S = 0.5, 30.0
CIRCLE_S = 30.0  # no effect is rendered longer than this at once: memory stays flat, longer sounds go round
TAIL_S = 2.0
LUFS = -16.0
_FADE_IN_S, _FADE_OUT_S = 0.004, 0.06


def rendered(
    prompt: str, seconds: float = 5.0, seed: int = 0, loop: bool = False, negative: str = ""
) -> tuple[Sound, tuple[str, ...]]:
    """(stereo sound at 48 kHz, names of the effects in it). A loop repeats without a seam.

    Raises UnknownSound where no word of the prompt is known, ValueError on a length outside 0.5..30 s.
    """
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"a sound effect lasts {SHORTEST_S:g} to {LONGEST_S:g} s, this is {seconds:g}")
    refused = unwanted_of(negative) if negative else frozenset()
    asked = tuple(a for a in asked_of(prompt) if a.known.name not in refused)
    if not asked:
        raise ValueError("the negative prompt forbids every sound that the prompt asks for; leave one")
    mixed = mix(asked, seconds, seed, loop)
    return Sound(levelled(mixed, RATE_HZ, LUFS).astype(np.float32), RATE_HZ), tuple(a.known.name for a in asked)


def mix(asked: Sequence[Asked], seconds: float, seed: int, loop: bool) -> FloatArray:
    """The effects together, `[2, n]`, each at its level; not yet levelled as a whole."""
    count = round(seconds * RATE_HZ)
    out = np.zeros((2, count))
    for one in asked:
        layer = effect_of(one, count, seed, loop)
        out += layer * 10 ** (one.level_db / 20)
    return out if loop else _cut(out)


def effect_of(one: Asked, count: int, seed: int, loop: bool) -> FloatArray:
    """One effect, `[2, count]`, as loud as any other. Its random numbers are its own: other effects change nothing."""
    circle = count if loop else min(count + round(TAIL_S * RATE_HZ), round(CIRCLE_S * RATE_HZ))
    dice = np.random.default_rng([seed, int.from_bytes(sha256(one.known.name.encode()).digest()[:4], "big")])
    scene = Scene(circle, dice, one.strength, one.pace, one.words)
    made = one.known.effect(scene)
    level = loudness(made, RATE_HZ)
    made = made * 10 ** ((LUFS - level) / 20) if level > -70 else unit(made)
    return made if loop else np.tile(made, (1, -(-count // circle)))[:, :count]


def _cut(out: FloatArray) -> FloatArray:
    """Without a click at either end."""
    rise, fall = round(_FADE_IN_S * RATE_HZ), round(_FADE_OUT_S * RATE_HZ)
    out[:, :rise] *= np.linspace(0, 1, rise)
    out[:, -fall:] *= 0.5 + 0.5 * np.cos(np.pi * np.linspace(0, 1, fall))
    return out
