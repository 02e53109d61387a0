"""The named voices: who they are, and what espeak-ng is told so that they sound like it.

The names are those of the task API (49 presets) and of live avatars (30, written small). The sound is ours; no voice is
that of a person. Every row was checked to sound unlike every other (tests/avatars/audio/test_voices.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ..tts import Voice
from .timbre import Timbre

# median pitch in Hz of espeak-ng's variants at its middle setting, measured with `pitch_of` on one English sentence
VARIANTS_HZ: dict[str, float] = {
    "f1": 174.4, "f2": 187.4, "f3": 200.8, "f4": 173.6, "f5": 197.9, "grandma": 188.0, "aunty": 175.3,
    "belinda": 224.4, "linda": 223.7, "Alicia": 242.6, "Annie": 225.4, "m1": 89.6, "m2": 97.8, "m3": 100.1,
    "m4": 88.8, "m5": 100.0, "m6": 97.2, "m7": 100.9, "m8": 81.5, "Mike": 85.9, "boris": 97.5,
    "croak": 101.0, "Gene": 91.8, "Gene2": 111.9, "adam": 97.3, "max": 97.4, "Reed": 110.2, "paul": 82.0,
    "pablo": 109.3,
}  # fmt: skip
# name, kind, accent, variant, pitch in Hz, liveliness, speed, formants, tilt in dB an octave, rough, ring in Hz, breath
_Row = tuple[str, str, str, str, int, int, float, float, float, float, float, float]
_PRESETS: tuple[_Row, ...] = (
    ("Maya", "woman", "en-us", "f3", 205, 55, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Arjun", "man", "en", "m3", 118, 60, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Serene", "woman", "en-us", "f2", 182, 30, 0.9, 0.97, -1.0, 0.0, 0.0, 0.0),
    ("Bernard", "man", "en-gb-x-rp", "m4", 92, 45, 0.94, 0.96, -0.5, 0.0, 0.0, 0.0),
    ("Billy", "man", "en-us", "m5", 136, 70, 1.06, 1.08, 0.5, 0.0, 0.0, 0.0),
    ("Mark", "man", "en-us", "m1", 108, 50, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Clint", "man", "en-us", "Mike", 84, 35, 0.93, 0.97, -0.6, 0.15, 0.0, 0.0),
    ("Mabel", "woman", "en", "grandma", 190, 65, 0.9, 1.02, 0.0, 0.0, 0.0, 0.0),
    ("Chad", "man", "en-us", "boris", 114, 60, 1.08, 1.03, 0.4, 0.0, 0.0, 0.0),
    ("Leslie", "woman", "en-us", "f4", 176, 45, 1.0, 0.98, 0.0, 0.0, 0.0, 0.0),
    ("Eleanor", "woman", "en-gb-x-rp", "f1", 196, 50, 0.95, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Elias", "man", "en-us", "m6", 102, 45, 0.96, 1.01, 0.0, 0.0, 0.0, 0.0),
    ("Elliot", "man", "en", "m2", 124, 55, 1.02, 1.04, 0.3, 0.0, 0.0, 0.0),
    ("Grungle", "other", "en-us", "croak", 120, 80, 1.0, 1.22, 0.8, 0.9, 0.0, 0.0),
    ("Brodie", "man", "en-gb-scotland", "m3", 112, 65, 1.04, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Sandra", "woman", "en-us", "f5", 214, 50, 1.03, 1.02, 0.0, 0.0, 0.0, 0.0),
    ("Kirk", "man", "en-us", "m7", 97, 75, 0.92, 1.0, 0.2, 0.0, 0.0, 0.0),
    ("Kylie", "woman", "en-us", "Annie", 240, 80, 1.06, 1.04, 0.4, 0.0, 0.0, 0.0),
    ("Lara", "woman", "en", "f3", 199, 45, 0.98, 1.05, 0.0, 0.0, 0.0, 0.0),
    ("Lisa", "woman", "en-us", "belinda", 221, 45, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Malachi", "man", "en-029", "m4", 86, 55, 0.93, 0.93, -0.5, 0.0, 0.0, 0.0),
    ("Marlene", "woman", "en-us", "f2", 168, 35, 0.92, 0.94, -0.7, 0.0, 0.0, 0.15),
    ("Martin", "man", "en", "m6", 99, 40, 1.0, 0.97, -0.3, 0.0, 0.0, 0.0),
    ("Miriam", "woman", "en-us", "aunty", 180, 40, 0.96, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Monster", "other", "en-us", "m4", 48, 70, 0.8, 0.72, -1.5, 0.8, 0.0, 0.0),
    ("Paula", "woman", "en-us", "f1", 208, 60, 1.02, 1.06, 0.3, 0.0, 0.0, 0.0),
    ("Pip", "child", "en", "f5", 330, 85, 1.12, 1.2, 0.8, 0.0, 0.0, 0.0),
    ("Rusty", "man", "en-us-nyc", "m2", 105, 60, 0.98, 0.95, 0.0, 0.35, 0.0, 0.0),
    ("Ragnar", "man", "en-gb-scotland", "m4", 78, 60, 0.9, 0.88, -0.8, 0.25, 0.0, 0.0),
    ("Xylar", "other", "en-us", "m5", 170, 15, 0.95, 1.35, 0.0, 0.0, 62.0, 0.0),
    ("Maggie", "woman", "en-gb-scotland", "f4", 188, 60, 1.0, 1.03, 0.0, 0.0, 0.0, 0.0),
    ("Jack", "man", "en-us", "m3", 121, 65, 1.05, 1.04, 0.2, 0.0, 0.0, 0.0),
    ("Katie", "woman", "en-us", "f3", 228, 70, 1.08, 1.03, 0.3, 0.0, 0.0, 0.0),
    ("Noah", "man", "en-us", "Gene", 106, 45, 0.97, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("James", "man", "en-gb-x-rp", "m1", 101, 45, 0.96, 1.0, 0.1, 0.0, 0.0, 0.0),
    ("Rina", "woman", "en-us", "Alicia", 246, 55, 1.0, 0.97, 0.0, 0.0, 0.0, 0.0),
    ("Ella", "woman", "en", "f5", 212, 55, 1.0, 1.1, 0.0, 0.0, 0.0, 0.0),
    ("Mariah", "woman", "en-us", "f4", 186, 75, 0.98, 1.04, 0.2, 0.0, 0.0, 0.0),
    ("Frank", "man", "en-us-nyc", "m1", 91, 50, 1.0, 0.96, -0.2, 0.0, 0.0, 0.0),
    ("Claudia", "woman", "en-us", "linda", 216, 40, 0.97, 0.97, 0.0, 0.0, 0.0, 0.0),
    ("Niki", "woman", "en-us", "f2", 235, 70, 1.1, 1.07, 0.4, 0.0, 0.0, 0.0),
    ("Vincent", "man", "en", "m4", 95, 55, 0.95, 1.01, -0.2, 0.0, 0.0, 0.0),
    ("Kendrick", "man", "en-us", "m6", 88, 60, 1.03, 0.95, 0.0, 0.0, 0.0, 0.0),
    ("Myrna", "woman", "en-us-nyc", "grandma", 174, 55, 0.94, 0.97, 0.0, 0.0, 0.0, 0.0),
    ("Tom", "man", "en-us", "m2", 116, 45, 1.0, 0.99, 0.0, 0.0, 0.0, 0.0),
    ("Wanda", "woman", "en-gb-x-gbclan", "f2", 203, 60, 0.97, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("Benjamin", "man", "en-us", "adam", 94, 40, 0.98, 1.0, 0.2, 0.0, 0.0, 0.0),
    ("Kiana", "woman", "en-029", "f3", 210, 65, 1.02, 0.99, 0.0, 0.0, 0.0, 0.0),
    ("Rachel", "woman", "en-us", "f1", 190, 50, 1.0, 1.01, 0.0, 0.0, 0.0, 0.0),
)  # fmt: skip
_LIVE: tuple[_Row, ...] = (
    ("victoria", "woman", "en-gb-x-rp", "f4", 184, 40, 0.96, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("vincent", "man", "en-us", "Gene2", 109, 50, 0.98, 0.96, -0.3, 0.0, 0.0, 0.0),
    ("clara", "woman", "en-us", "f2", 211, 50, 1.0, 1.03, 0.2, 0.0, 0.0, 0.0),
    ("drew", "man", "en-us", "m5", 119, 55, 1.03, 0.99, 0.0, 0.0, 0.0, 0.0),
    ("skye", "woman", "en-gb-scotland", "f3", 219, 60, 1.02, 1.02, 0.2, 0.0, 0.0, 0.0),
    ("max", "man", "en-us", "max", 104, 55, 1.06, 1.05, 0.3, 0.0, 0.0, 0.0),
    ("morgan", "man", "en-us", "m4", 82, 35, 0.9, 0.98, -0.4, 0.0, 0.0, 0.0),
    ("felix", "man", "en", "m5", 128, 65, 1.05, 1.02, 0.2, 0.0, 0.0, 0.0),
    ("mia", "woman", "en-us", "f5", 236, 65, 1.05, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("marcus", "man", "en-us", "m7", 93, 45, 0.96, 0.97, 0.0, 0.0, 0.0, 0.0),
    ("summer", "woman", "en-us", "f3", 252, 75, 1.07, 1.06, 0.4, 0.0, 0.0, 0.0),
    ("ruby", "woman", "en-gb-x-gbclan", "f5", 206, 65, 1.03, 0.98, 0.0, 0.0, 0.0, 0.0),
    ("aurora", "woman", "en-us", "Alicia", 227, 45, 0.93, 1.02, 0.0, 0.0, 0.0, 0.2),
    ("jasper", "man", "en-gb-x-rp", "m2", 113, 55, 0.98, 1.01, 0.0, 0.0, 0.0, 0.0),
    ("leo", "man", "en-us", "m3", 131, 70, 1.06, 1.0, 0.2, 0.0, 0.0, 0.0),
    ("adrian", "man", "en-us", "Reed", 110, 40, 0.98, 1.02, 0.3, 0.0, 0.0, 0.0),
    ("nina", "woman", "en-us", "f1", 217, 45, 1.0, 0.97, -0.2, 0.0, 0.0, 0.0),
    ("emma", "woman", "en", "f1", 201, 50, 1.0, 1.03, 0.1, 0.0, 0.0, 0.0),
    ("blake", "man", "en-us", "m8", 89, 45, 0.97, 1.03, 0.4, 0.0, 0.0, 0.0),
    ("david", "man", "en-us", "paul", 87, 40, 0.97, 1.0, 0.2, 0.0, 0.0, 0.0),
    ("maya", "woman", "en-us", "f4", 197, 60, 1.0, 1.07, 0.2, 0.0, 0.0, 0.0),
    ("nathan", "man", "en-us", "m1", 122, 50, 1.02, 1.06, 0.2, 0.0, 0.0, 0.0),
    ("sam", "man", "en-us-nyc", "m6", 117, 55, 1.05, 1.02, 0.0, 0.0, 0.0, 0.0),
    ("georgia", "woman", "en-029", "f2", 192, 60, 0.96, 0.98, 0.0, 0.0, 0.0, 0.0),
    ("petra", "woman", "en-gb-x-gbcwmd", "f1", 178, 40, 1.0, 0.96, 0.0, 0.0, 0.0, 0.0),
    ("adam", "man", "en-gb-x-gbcwmd", "m3", 103, 50, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("zach", "man", "en-us", "pablo", 126, 65, 1.08, 1.0, 0.0, 0.0, 0.0, 0.0),
    ("violet", "woman", "en-gb-x-rp", "f2", 224, 55, 0.98, 1.05, 0.2, 0.0, 0.0, 0.0),
    ("roman", "man", "en", "m7", 85, 50, 0.94, 0.94, 0.0, 0.0, 0.0, 0.0),
    ("luna", "woman", "en-us", "f5", 193, 35, 0.92, 0.96, -0.4, 0.0, 0.0, 0.25),
)  # fmt: skip


def _voice(row: _Row) -> Voice:
    name, kind, accent, variant, f0_hz, liveliness, speed, formants, tilt, rough, ring, breath = row
    return Voice(name, kind, accent, variant, f0_hz, liveliness, speed, Timbre(formants, tilt, rough, ring, breath))


PRESETS: dict[str, Voice] = {row[0]: _voice(row) for row in _PRESETS}
LIVE_PRESETS: dict[str, Voice] = {row[0]: _voice(row) for row in _LIVE}
DEFAULT = "Maya"


def voice_named(name: str) -> Voice:
    """A preset, capitals as in its list (`Maya` is not `maya`); where one list alone has it, in any.

    Raises ValueError on a name that nobody has.
    """
    for presets in (PRESETS, LIVE_PRESETS):
        if name in presets:
            return presets[name]
    for presets in (PRESETS, LIVE_PRESETS):
        for known, voice in presets.items():
            if known.lower() == name.lower():
                return voice
    raise ValueError(f"there is no voice {name!r}; there are {', '.join(PRESETS)}; and {', '.join(LIVE_PRESETS)}")


_KINDS = {
    "woman": ("f2", 198.0, 1.0),
    "man": ("m3", 108.0, 1.0),
    "child": ("f5", 290.0, 1.15),
    "other": ("m5", 120.0, 1.0),
}
# words | what they change: kind, or (pitch, formants, speed, liveliness, tilt, rough, breath) as factors and additions
_KIND_WORDS = (
    (r"child|kid|boy|girl|toddler", "child"),
    (r"wom[ae]n|female|lady|grandm\w+|mother|queen|witch|actress|she|her", "woman"),
    (r"m[ae]n|male|gentleman|grandpa|grandfather|father|king|wizard|actor|guy|he|his", "man"),
    (r"robot\w*|alien|monster|creature|demon|goblin|android|troll|dragon|ogre", "other"),
)
_CHANGES: tuple[tuple[str, tuple[float, float, float, int, float, float, float]], ...] = (
    (r"deep\w*|low|baritone|bass", (0.82, 0.96, 1.0, 0, -0.3, 0, 0)),
    (r"high|squeaky|soprano|shrill", (1.2, 1.06, 1.0, 0, 0.3, 0, 0)),
    (r"old\w*|elderly|aged|ancient|grandm\w+|grandpa|grandfather", (0.94, 0.98, 0.9, 5, -0.2, 0.2, 0.1)),
    (r"young\w*|teen\w*|youthful", (1.08, 1.04, 1.04, 10, 0.3, 0, 0)),
    (r"raspy|gravel\w*|rough|hoarse|gruff|husky|smoky|growl\w*", (0.95, 0.98, 1.0, 0, 0, 0.4, 0)),
    (r"breathy|whisper\w*|soft\w*|gentle|intimate|airy", (1.0, 1.0, 0.95, -10, -0.4, 0, 0.4)),
    (r"warm\w*|mellow|smooth|rich|velvet\w*", (0.97, 0.98, 0.97, 0, -0.6, 0, 0)),
    (r"bright|crisp|clear|sharp|nasal", (1.02, 1.02, 1.0, 0, 0.6, 0, 0)),
    (r"fast|quick\w*|hurried|rapid\w*", (1.0, 1.0, 1.2, 5, 0, 0, 0)),
    (r"slow\w*|calm\w*|measured|sooth\w*|relaxed", (0.98, 1.0, 0.87, -12, -0.2, 0, 0)),
    (r"lively|excited|energetic|cheerful|happy|enthusiastic|playful|expressive", (1.05, 1.0, 1.06, 30, 0.2, 0, 0)),
    (r"monotone|flat|serious|stern|cold|robot\w*|android", (0.98, 1.0, 0.98, -35, 0, 0, 0)),
    (r"monster|demon|giant|ogre|troll|dragon", (0.55, 0.78, 0.88, 10, -0.8, 0.7, 0)),
    (r"tiny|little|small|pixie|fairy|elf|goblin", (1.2, 1.15, 1.05, 15, 0.4, 0, 0)),
)
_ACCENT_WORDS = (
    (r"scot\w+", "en-gb-scotland"), (r"british|english accent|london|uk", "en"),
    (r"posh|received pronunciation|rp|stage", "en-gb-x-rp"),
    (r"caribbean|jamaican", "en-029"), (r"new york\w*|brooklyn", "en-us-nyc"),
    (r"lancashire|northern english", "en-gb-x-gbclan"),
    (r"birmingham|midlands", "en-gb-x-gbcwmd"), (r"american", "en-us"),
)  # fmt: skip


def voice_of_words(prompt: str, name: str = "designed") -> tuple[Voice, tuple[str, ...]]:
    """(the voice that a description asks for, the words of it that were understood). Deterministic: what the words
    leave open, the words' own hash decides."""
    said, understood = prompt.lower(), list[str]()

    def found(pattern: str) -> bool:
        match = re.search(rf"\b(?:{pattern})\b", said)
        if match and match[0] not in understood:
            understood.append(match[0])
        return match is not None

    dice = sha256(said.encode()).digest()
    kinds = [kind for pattern, kind in _KIND_WORDS if found(pattern)]
    kind = next((k for k in kinds if k in ("other", "child")), kinds[0] if kinds else ("woman", "man")[dice[0] % 2])
    variant, pitch, formants = _KINDS[kind]
    pitch, formants = pitch * 2 ** ((dice[1] / 255 - 0.5) / 4), formants * 2 ** ((dice[2] / 255 - 0.5) / 10)
    speed, liveliness, tilt, rough, breath = 1.0, 50, 0.0, 0.0, 0.0
    for pattern, change in _CHANGES:
        if found(pattern):
            pitch, formants, speed = pitch * change[0], formants * change[1], speed * change[2]
            liveliness, tilt = liveliness + change[3], tilt + change[4]
            rough, breath = rough + change[5], breath + change[6]
    accent = next((accent for pattern, accent in _ACCENT_WORDS if found(pattern)), "en-us")
    ring = 55.0 if re.search(r"\b(?:robot\w*|alien|android)\b", said) else 0.0
    timbre = Timbre(min(max(formants, 0.6), 1.6), tilt, min(rough, 1.0), ring, min(breath, 0.8))
    voice = Voice(
        name, kind, accent, variant, min(max(pitch, 45.0), 420.0), min(max(liveliness, 5), 100), speed, timbre
    )
    return voice, tuple(understood)


def voice_to_json(voice: Voice) -> dict[str, Any]:
    """JSON values that `voice_from_json` reads."""
    timbre = voice.timbre
    return {
        "name": voice.name, "kind": voice.kind, "accent": voice.accent, "variant": voice.variant, "f0_hz": voice.f0_hz,
        "liveliness": voice.liveliness, "speed": voice.speed, "tilt_to_db": voice.tilt_db,
        "formants": timbre.formants, "tilt_db": timbre.tilt_db, "rough": timbre.rough, "ring_hz": timbre.ring_hz,
        "breath": timbre.breath,
    }  # fmt: skip


_BOUNDS = {
    "f0_hz": (40.0, 500.0), "liveliness": (0.0, 100.0), "speed": (0.5, 2.0), "formants": (0.5, 2.0),
    "tilt_db": (-6.0, 6.0),
    "rough": (0.0, 1.0), "ring_hz": (0.0, 2000.0), "breath": (0.0, 1.0), "tilt_to_db": (-20.0, 6.0),
}  # fmt: skip


def voice_from_json(said: Mapping[str, Any]) -> Voice:
    """From `{"preset": "Maya"}`, `{"prompt": "an old man…"}` or what `voice_to_json` wrote, whole or with a preset.

    Raises ValueError on what is not a voice, with the value.
    """
    if isinstance(said.get("prompt"), str):
        voice = voice_of_words(said["prompt"], str(said.get("name", "designed")))[0]
    else:
        voice = voice_named(str(said.get("preset", DEFAULT)))
    numbers: dict[str, float] = {}
    for key, (low, high) in _BOUNDS.items():
        value = said.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"a voice's {key} lies in {low:g}..{high:g}, this is {value!r}")
        numbers[key] = float(value)
    words = {key: str(said[key])[:100] for key in ("name", "kind", "accent", "variant") if key in said}
    if words.get("variant", voice.variant) not in VARIANTS_HZ:
        raise ValueError(f"there is no variant {words['variant']!r}; there are {', '.join(VARIANTS_HZ)}")
    if not re.fullmatch(r"[a-z0-9-]{2,20}", words.get("accent", voice.accent)):
        raise ValueError(f"{words['accent']!r} is not an accent, e.g. en-us")
    tilt_to = numbers.pop("tilt_to_db", voice.tilt_db)
    liveliness = int(numbers.pop("liveliness", voice.liveliness))
    f0_hz, speed = numbers.pop("f0_hz", voice.f0_hz), numbers.pop("speed", voice.speed)
    timbre = replace(voice.timbre, **numbers)
    return replace(voice, **words, f0_hz=f0_hz, liveliness=liveliness, speed=speed, tilt_db=tilt_to, timbre=timbre)
