"""Prompts for procedural worlds: a grammar that writes captions, and a reader that finds attributes in a prompt."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

from .attributes import THEMES, TIMES, Attributes

MAX_WORDS = 32  # words kept of a prompt
MAX_LETTERS = 32  # letters kept of a word
MAX_CHARACTERS = 2048  # characters looked at in a prompt; bounds the work on hostile input

EMPTY_RATE = 0.08  # share of captions that are the empty string
THEME_DROP = 0.05
TERSE_RATE = 0.25  # share of short captions, written as a user types: "forest", "desert, night"
TERSE_DROP, FULL_DROP = 0.65, 0.25  # attribute drop rates; together 0.25 * 0.65 + 0.75 * 0.25 = 0.35
NUMBER_DROP = 0.35  # drop rate of the density, relief and variety words, which only full captions have
NAME_RATE = 0.45  # share of theme mentions that use the theme's own name

# One line per value, in the order of attributes.py. Themes: what may stand for the name.
_THEME_WORDS = (
    "woods, woodland, green forest, leafy forest, oak grove, old trees, deep woods, trees, forest path, mossy glade",
    "sandy desert, sand dunes, dunes, sandy wasteland, arid plain, cactus desert, dry desert, barren sands",
    "cyberpunk city, city of neon, futuristic city, neon skyline, neon streets, skyscrapers, metropolis, city",
    "snowy forest, winter forest, pines in the snow, frosty pines, winter woods, snowy firs, frozen taiga, snow, pines",
    "stone dungeon, crypt, underground vault, catacombs, castle dungeon, torchlit corridor, cellar, cavern, prison",
    "sea cliffs, cliffs by the sea, rocky coast, coastal cliffs, seaside bluffs, cliffs, rugged headland, ocean, shore",
    "red canyon, gorge, ravine, red rock canyon, mesas, sandstone canyon, canyon walls, badlands, slot canyon",
    "autumn woods, fall forest, forest in autumn, autumn leaves, red maples, golden leaves, fall foliage, autumn trees",
    "ancient ruins, ruined temple, crumbling ruins, fallen columns, broken arches, ruins, lost temple",
    "palm island, island, palm beach, palm trees, lagoon, jungle island, tropical beach, coral island, beach, palms",
    "suburb, small town, quiet town, houses, neighborhood, village, residential street, town, rows of houses, cottages",
    "alien world, strange planet, planet, distant planet, unearthly land, alien landscape, exoplanet, crystal planet",
)
# The others: what stands before the noun or alone | what follows it, with its preposition.
_TIME_WORDS = (
    "dawn, daybreak, sunrise, first light | at dawn, at daybreak, at sunrise, at first light, as the sun rises",
    "morning, early morning, mid morning | in the morning, in the early morning, on a morning, in the forenoon",
    "noon, midday, daytime, daylight | at noon, at midday, at high noon, in daylight, in the middle of the day",
    "golden hour, sunset, late afternoon | at golden hour, in the golden hour, at sunset, in late afternoon",
    "dusk, twilight, evening, blue hour | at dusk, at twilight, in the evening, at nightfall, at sundown",
    "night, midnight, starry night, starlit | at night, at midnight, under the stars, after dark, in moonlight",
)
_WEATHER_WORDS = (
    "clear, cloudless, clear sky | in clear weather, under a clear sky, under a blue sky, without clouds, no clouds",
    "cloudy, partly cloudy, clouded | with clouds, under scattered clouds, with drifting clouds, under broken clouds",
    "overcast, sunless, gray | under an overcast sky, under a gray sky, under a grey sky, with heavy clouds",
    "misty, mist covered, damp | in mist, in the mist, with thin mist, in light mist, under a veil of mist",
    "foggy, fogbound, fog | in fog, in the fog, in thick fog, in dense fog, in rolling fog, in heavy fog",
    "hazy, haze, dusty, smoky | in haze, in the haze, with a distant haze, in dusty air, in shimmering heat",
)
_MOOD_WORDS = (
    "vivid, vibrant, colorful, colourful, saturated, lively | in vivid colors, in bright colours, in rich color",
    "muted, faded, pale, subdued, dull, pastel | in muted colors, in soft colours, in washed out tones, in faded hues",
    "warm, cozy, cosy, glowing, amber, sunny | in warm colors, in warm light, in warm tones, with an amber glow",
    "cool, cold, chilly, crisp, bluish | in cool colors, in cold light, in cool tones, in bluish hues",
    "dreamy, dreamlike, magical, ethereal, surreal, enchanted | in a dream, with a dreamy feel, in soft focus",
    "gloomy, dark, bleak, moody, eerie, somber, sombre, dreary, ominous | in gloom, with a gloomy mood, in shadow",
)
# Density, relief, variety, each low then high.
_NUMBER_WORDS = (
    "sparse, open, empty, uncluttered | with few things, with wide open space, with lots of room",
    "dense, crowded, packed, cluttered | with many things, full of things, with much detail",
    "flat, level, even | with flat ground, on level ground, on flat terrain",
    "hilly, rolling, steep, uneven, mountainous | with rolling hills, with steep slopes, with hills, among mountains",
    "uniform, plain, regular | with little variety, with all things alike",
    "varied, mixed, diverse | with much variety, with all kinds of things",
)
# Further phrases the reader knows, built from words the grammar writes, one line per theme.
_ALIASES = (
    "", "sand, cactus", "neon, skyscraper, city street", "snowy, winter, fir, snow forest, frozen, frosty, taiga",
    "underground, prison", "sea, coast, bluff, seaside, headland", "canyon forest, desert canyon, red rock, sandstone",
    "autumn, foliage, maple, fall leaves", "ruined city, city ruin, temple, ruined, ancient city",
    "tropical, tropical forest, jungle, palm, desert island, sandy beach", "house, suburban, street, cottage",
    "alien, alien city, alien desert, alien forest, desert planet",
)  # fmt: skip
# Upper case: a slot, left out when its attribute is dropped; + takes the form with a preposition. The rest is literal.
_SENTENCES = (
    "a WEATHER MOOD NUMBER THEME TIME+", "a MOOD NUMBER THEME TIME+ WEATHER+", "a NUMBER THEME WEATHER+ TIME+ , MOOD+",
    "a WEATHER THEME TIME+ , MOOD+ , NUMBER+", "a MOOD WEATHER THEME TIME+ NUMBER+",
    "a TIME THEME WEATHER+ , NUMBER+ , MOOD+", "a NUMBER WEATHER THEME TIME+ MOOD+",
    "a THEME TIME+ , WEATHER , MOOD , NUMBER", "THEME TIME+ , WEATHER+ , MOOD+ , NUMBER+",
    "TIME , a WEATHER NUMBER THEME , MOOD+", "TIME+ , a MOOD THEME WEATHER+ , NUMBER+",
    "WEATHER+ , a NUMBER THEME TIME+ , MOOD+", "WEATHER TIME , MOOD NUMBER THEME",
    "MOOD , WEATHER , TIME , NUMBER THEME", "a MOOD TIME THEME , WEATHER , NUMBER+",
    "the NUMBER THEME TIME+ , WEATHER MOOD", "the MOOD THEME WEATHER+ TIME+ , NUMBER",
    "a view of a WEATHER THEME TIME+ , MOOD+ , NUMBER+", "a picture of a MOOD NUMBER THEME TIME+ WEATHER+",
    "a photo of a WEATHER MOOD THEME TIME+ NUMBER+", "a scene of a NUMBER THEME WEATHER+ , TIME , MOOD+",
    "walking through a WEATHER NUMBER THEME TIME+ MOOD+", "wandering through a MOOD THEME TIME+ , WEATHER+ , NUMBER+",
    "exploring a NUMBER THEME TIME+ , MOOD WEATHER", "explore a MOOD WEATHER NUMBER THEME TIME+",
    "show me a WEATHER THEME TIME+ , NUMBER+ , MOOD+", "a game in a MOOD NUMBER THEME WEATHER+ TIME+",
    "imagine a MOOD NUMBER THEME TIME+ WEATHER+", "take me to a NUMBER THEME TIME+ WEATHER+ , MOOD",
    "i want a WEATHER MOOD THEME TIME+ , NUMBER", "it is TIME in a WEATHER MOOD NUMBER THEME",
    "a place like a THEME , WEATHER+ , TIME+ , NUMBER , MOOD", "a walk in a NUMBER MOOD THEME WEATHER+ , TIME",
    "somewhere in a WEATHER THEME , MOOD+ TIME+ , NUMBER+",
)  # fmt: skip
_TAGS = (
    "THEME , TIME , WEATHER , MOOD , NUMBER", "THEME TIME WEATHER MOOD NUMBER",
    "THEME , TIME+ , WEATHER+ , MOOD , NUMBER", "NUMBER THEME , WEATHER , MOOD , TIME",
    "WEATHER THEME , TIME , MOOD+ , NUMBER", "THEME TIME+ , WEATHER , MOOD , NUMBER+",
)  # fmt: skip
TEMPLATES = _SENTENCES + _TAGS  # the parts of a tag template between commas may come in any order
_TERSE = _TAGS + _TAGS + _SENTENCES[:3] + _SENTENCES[8:9]
_ARTICLE = re.compile(r"\ba (?=[A-Z])")  # the article of the theme, not that of "a view of"
_FILLERS = ("scene", "place", "landscape", "world")  # stand for a dropped theme in a sentence
_FUNCTION_WORDS = (
    "a an the in at of on and or with under by over through to from into is are it this that as for me my i near during"
    " among inside some very where there be please make want like"
)
_NEGATIONS = frozenset(("no", "not", "without"))  # the mention after one of these is not counted

_Forms: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]  # (before the noun or alone, after it)
_Meaning: TypeAlias = tuple[int, int]  # (slot 0-3: theme, time, weather, mood; 4: numbers, index within the slot)


@dataclass(frozen=True, slots=True)
class Hints:
    """Indices into THEMES, TIMES, WEATHERS and MOODS; None where a prompt does not say."""

    theme: int | None = None
    time: int | None = None
    weather: int | None = None
    mood: int | None = None


def _fold(word: str) -> str:
    """The singular of a plain English plural, by its ending alone: "cliffs" gives "cliff", "skies" gives "sky"."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]


def words(prompt: str) -> tuple[str, ...]:
    """Lower-case words of a prompt, without accents and with plurals folded, at most MAX_WORDS of them.

    Takes any string: only the first MAX_CHARACTERS characters and the first MAX_LETTERS letters of a word count,
    and whatever is not a letter of some script separates words (apostrophes and combining marks just vanish).
    """
    text = unicodedata.normalize("NFKD", prompt[:MAX_CHARACTERS]).lower()
    kept = "".join(c if c.isalpha() else "" if c in "'’" or unicodedata.category(c)[0] == "M" else " " for c in text)
    found = unicodedata.normalize("NFC", kept).split()[:MAX_WORDS]
    return tuple(_fold(word[:MAX_LETTERS]) for word in found)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _forms(lines: tuple[str, ...]) -> tuple[_Forms, ...]:
    halves = [line.split("|") for line in lines]
    return tuple((_list(before), _list(after)) for before, after in halves)


_THEMES = tuple(_list(line) for line in _THEME_WORDS)
_SLOTS = (_forms(_TIME_WORDS), _forms(_WEATHER_WORDS), _forms(_MOOD_WORDS))
_NUMBERS = _forms(_NUMBER_WORDS)


def _emitted() -> list[tuple[str, _Meaning]]:
    """Every phrase the grammar writes for an attribute, with its meaning."""
    pairs = [(phrase, (0, i)) for i, name in enumerate(THEMES) for phrase in (name, *_THEMES[i])]
    for slot, values in enumerate((*_SLOTS, _NUMBERS), start=1):
        pairs += [(phrase, (slot, i)) for i, forms in enumerate(values) for phrase in forms[0] + forms[1]]
    return pairs


_EMITTED = _emitted()
_MEANT_WORDS = frozenset(w for phrase, _ in _EMITTED for w in words(phrase)) - frozenset(_FUNCTION_WORDS.split())
_LITERALS = frozenset(w for t in TEMPLATES for w in t.split() if w.islower()) | frozenset(_FILLERS) | {"an"}
STOP_WORDS = (frozenset(_FUNCTION_WORDS.split()) | _LITERALS) - _MEANT_WORDS
_TEXTS = (*_LITERALS, *(phrase for phrase, _ in _EMITTED))
VOCABULARY: tuple[str, ...] = tuple(sorted({word for text in _TEXTS for word in words(text)}))
_KNOWN = frozenset(VOCABULARY) | _NEGATIONS


def _content(prompt: str) -> tuple[str, ...]:
    """The words of a prompt that are not stop words."""
    return tuple(word for word in words(prompt) if word not in STOP_WORDS)


def _phrase_table() -> dict[tuple[str, ...], _Meaning]:
    """The meaning of every phrase the reader knows, by its content words."""
    pairs = _EMITTED + [(alias, (0, i)) for i, line in enumerate(_ALIASES) for alias in _list(line)]
    pairs.append(("moonlit", (1, TIMES.index("night"))))  # by itself; "moonlit ruins" is a theme
    return {_content(phrase): meaning for phrase, meaning in pairs}


_PHRASES = _phrase_table()
_LONGEST = max(map(len, _PHRASES))


def _scan(prompt: str) -> list[tuple[tuple[str, ...], _Meaning | None]]:
    """A prompt's content words cut into known phrases, longest first, and single words without a meaning."""
    content, found, start = _content(prompt), list[tuple[tuple[str, ...], _Meaning | None]](), 0
    while start < len(content):
        for length in range(min(_LONGEST, len(content) - start), 0, -1):
            piece = content[start : start + length]
            if length == 1 or piece in _PHRASES:
                found.append((piece, _PHRASES.get(piece)))
                start += length
                break
    return found


def understood(prompt: str) -> tuple[str, ...]:
    """The words and phrases of a prompt that the grammar knows, as words() writes them, each once, in order."""
    pieces = (" ".join(piece) for piece, meaning in _scan(prompt) if meaning is not None or piece[0] in _KNOWN)
    return tuple(dict.fromkeys(pieces))


def meant(prompt: str) -> tuple[str, ...]:
    """Those of `understood` that name an attribute, and negations: what a long text comes down to."""
    pieces = (" ".join(piece) for piece, meaning in _scan(prompt) if meaning is not None or piece[0] in _NEGATIONS)
    return tuple(dict.fromkeys(pieces))


def unknown(prompt: str) -> tuple[str, ...]:
    """The words of a prompt that the grammar never writes, as words() writes them, each once, in order."""
    pieces = (piece[0] for piece, meaning in _scan(prompt) if meaning is None and piece[0] not in _KNOWN)
    return tuple(dict.fromkeys(pieces))


def parse(prompt: str) -> Hints:
    """The attributes a prompt names, by the first mention of each; a mention right after "no" or "without" is skipped.

    A forest with a later word for autumn, snow or the tropics is that kind of forest.
    """
    mentions: tuple[list[int], ...] = ([], [], [], [], [])
    previous: tuple[str, ...] = ()
    for piece, meaning in _scan(prompt):
        if meaning is not None and not (previous and previous[-1] in _NEGATIONS):
            mentions[meaning[0]].append(meaning[1])
        previous = piece
    kinds = (THEMES.index("snowy pines"), THEMES.index("autumn forest"), THEMES.index("tropical island"))
    if mentions[0] and mentions[0][0] == THEMES.index("forest"):
        mentions[0][:1] = [theme for theme in mentions[0] if theme in kinds] or mentions[0][:1]
    return Hints(*(slot[0] if slot else None for slot in mentions[:4]))


def _number_forms(attributes: Attributes, rng: random.Random) -> list[_Forms]:
    """The word lists for density, relief and variety that are clearly low or high and not dropped."""
    levels = (attributes.density, attributes.relief, attributes.variety)
    chosen = [2 * i + (level > 0.5) for i, level in enumerate(levels) if abs(level - 0.5) > 1 / 6]
    return [_NUMBERS[i] for i in chosen if rng.random() >= NUMBER_DROP]


def _choose(attributes: Attributes, terse: bool, rng: random.Random) -> tuple[str, dict[str, str]]:
    """The theme's words ("" when dropped) and the text of every other slot that is mentioned."""
    fillings: dict[str, str] = {}
    indices = (attributes.time, attributes.weather, attributes.mood)
    for slot, values, index in zip(("TIME", "WEATHER", "MOOD"), _SLOTS, indices, strict=True):
        if rng.random() >= (TERSE_DROP if terse else FULL_DROP):
            before, after = values[index]
            fillings[slot] = rng.choice((before[0], *before))  # the plainest word twice as often
            fillings[slot + "+"] = rng.choice((after[0], *after))
    numbers = [] if terse else _number_forms(attributes, rng)
    if numbers:
        rng.shuffle(numbers)
        fillings["NUMBER"] = " ".join(rng.choice(before) for before, _ in numbers)
        fillings["NUMBER+"] = " , ".join(rng.choice(after) for _, after in numbers)
    if fillings and rng.random() < THEME_DROP:
        return "", fillings
    named = rng.random() < NAME_RATE
    return THEMES[attributes.theme] if named else rng.choice(_THEMES[attributes.theme]), fillings


def _tidy(template: str, fillings: dict[str, str]) -> str:
    """The filled template, with commas closed up and each "a" fitted to what follows (none before a plural theme)."""
    if any(_fold(word) != word for word in fillings["THEME"].split()):
        template = _ARTICLE.sub("", template)
    filled = (token if token == "," or token.islower() else fillings.get(token, "") for token in template.split())
    tokens = " ".join(filled).split()
    out: list[str] = []
    for token, following in zip(tokens, [*tokens[1:], ","], strict=True):
        if token == "a" and following[0] in "aeiou" and following != "uniform":
            token = "an"
        if not (token == "," and (not out or following == ",")):
            out.append(token)
    return " ".join(out).replace(" ,", ",")


def caption(attributes: Attributes, rng: random.Random) -> str:
    """A prompt for a world, as a user might type it; the same attributes and generator state give the same text.

    EMPTY_RATE of all captions are empty. Raises IndexError when an index in attributes is out of range.
    """
    if rng.random() < EMPTY_RATE:
        return ""
    terse = rng.random() < TERSE_RATE
    theme, fillings = _choose(attributes, terse, rng)
    template = rng.choice(_TERSE if terse else TEMPLATES)
    tags = template in _TAGS
    fillings["THEME"] = theme or ("" if tags else rng.choice(_FILLERS))
    if tags:
        pieces = template.split(" , ")
        rng.shuffle(pieces)
        template = " , ".join(pieces)
    return _tidy(template, fillings)
