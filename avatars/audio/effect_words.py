"""Words to effects: what a prompt asks to be heard, how strongly, and what it does not want."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from . import effects_life as life
from . import effects_made as made
from . import effects_weather as weather
from .synthesis import Effect


@dataclass(frozen=True, slots=True)
class Known:
    """An effect by name: the words that ask for it, and its level beside others in dB."""

    name: str
    effect: Effect
    words: str  # a regular expression of whole words
    level_db: float = 0.0


EFFECTS: tuple[Known, ...] = (
    Known(
        "wind", weather.wind,
        r"winds?|windy|breez\w*|gust\w*|gale|blizzard|howling|snowstorm|hurricane|storms?"
        r"|stormy|tornado",
    ),
    Known(
        "rain", weather.rain,
        r"rain\w*|drizzl\w*|downpour|shower|showers|storms?|stormy|monsoon|hail|thunderstorms?",
    ),
    Known("thunder", weather.thunder, r"thunder\w*|lightning"),
    Known("waves", weather.waves, r"waves?|sea|seas|ocean\w*|surf|shore\w*|beach\w*|coast\w*|tides?|seaside"),
    Known(
        "stream", weather.stream,
        r"streams?|rivers?|brooks?|creeks?|waterfalls?|fountains?|rapids|babbling|running water"
        r"|flowing water|flowing",
    ),
    Known("drips", weather.drips, r"drip\w*|droplets?|leak\w*|water drops?|caves?", -2),
    Known("underwater", weather.underwater, r"underwater|under water|bubbl\w*|submarine|aquarium|diving"),
    Known("fire", weather.fire, r"fires?|campfire|bonfire|fireplace|flames?|burning|crackl\w*|hearth|torch\w*|lava"),
    Known(
        "birds", life.birds,
        r"birds?|birdsong|songbirds?|chirping|tweet\w*|sparrows?|robins?|nightingales?"
        r"|dawn chorus|jungle", -5,
    ),
    Known("seagulls", life.seagulls, r"seagulls?|gulls?", -6),
    Known("owl", life.owl, r"owls?|hoot\w*", -6),
    Known("crickets", life.crickets, r"crickets?|cicadas?|insects?|grasshoppers?|summer night|katydids?", -7),
    Known("frogs", life.frogs, r"frogs?|toads?|croak\w*|swamp\w*|marsh\w*", -4),
    Known("leaves", life.leaves, r"rustl\w*|foliage|leaves rustling|rustling leaves|trees? in the wind|leaves", -3),
    Known(
        "steps", life.steps,
        r"(?:foot)?steps?|footfalls?|walk|walks|walking|running|jogging|sprinting|marching"
        r"|boots|strolling", 0,
    ),
    Known(
        "crowd", life.crowd,
        r"crowd\w*|murmur\w*|chatter\w*|people talking|restaurant|caf[eé]s?|cafeteria|market\w*"
        r"|audience|bar|pub|party", -2,
    ),
    Known("applause", life.applause, r"applau\w*|clapping|claps?|ovation"),
    Known("heartbeat", life.heartbeat, r"heart\s?beats?|hearts?|pulse"),
    Known("knock", life.knock, r"knock\w*"),
    Known("typing", life.typing, r"typing|keyboards?|typewriter|keystrokes?", -3),
    Known("traffic", made.traffic, r"traffic|city|cities|streets?|cars?|urban|town|downtown|highway|motorway|road"),
    Known(
        "engine", made.engine,
        r"engines?|motors?|motorcycles?|motorbikes?|trucks?|lorry|tractors?|revving|generator"
        r"|chainsaw",
    ),
    Known("train", made.train, r"trains?|railway|railroad|locomotive|subway|tram|rails"),
    Known("machine", made.machine, r"machines?|machinery|factory|industrial|conveyor|press|robots?|mechanical"),
    Known(
        "space hum", made.space_hum,
        r"space hum|space|spaceships?|starships?|sci-?fi|drone|alien|cosmic|eerie|ambient|dungeons?"
        r"|ominous",
    ),
    Known("hum", made.hum, r"hum|hums|humming|electric\w*|buzz\w*|fridge|refrigerator|neon|transformer|fluorescent"),
    Known("helicopter", made.helicopter, r"helicopters?|chopper"),
    Known("airplane", made.airplane, r"airplanes?|aeroplanes?|planes?|jets?|aircraft|airport"),
    Known("clock", made.clock, r"clocks?|tick|ticks|ticking|tick-?tock|metronome", -3),
    Known("alarm", made.alarm, r"alarms?|sirens?|beep\w*|police|ambulance|klaxon|warning", -3),
    Known("bells", made.bells, r"bells?|church|cathedral|carillon|toll\w*"),
    Known("chimes", made.chimes, r"chimes?|wind-?chimes?|tinkl\w*|tubular", -2),
    Known("gong", made.gong, r"gongs?|temple|singing bowl"),
    Known("glass", made.glass, r"glass|shatter\w*|smash\w*|window breaking"),
    Known("explosion", made.explosion, r"explo\w*|blasts?|bombs?|detonat\w*|cannons?|boom|artillery"),
    Known("whoosh", made.whoosh, r"whoosh\w*|swoosh\w*|swish\w*|fly-?by|passing by|swing"),
    Known("clang", made.clang, r"clang\w*|swords?|clash\w*|anvil|blacksmith|hammer\w*|steel|metallic", -2),
    Known("drum", made.drum, r"drum\w*|taiko|timpani|war drums"),
)  # fmt: skip
BY_NAME = {known.name: known for known in EFFECTS}
MOST = 6  # effects at once; more is a noise

# Words that name a place rather than a sound give way where the same clause says what is heard there.
_PLACES = re.compile(
    r"^(?:beach|coast|street|streets|city|cities|town|road|church|cathedral|temple|cave|caves|market|leaves|space|alien|dungeon|jungle)$"
)
_STRENGTHS: tuple[tuple[str, float], ...] = (
    (r"faint\w*|barely|very (?:light|soft|quiet)\w*|hint of", 0.1),
    (r"gentl[ey]|light\w*|soft\w*|quiet\w*|calm\w*|subtle|slight\w*|distant|small|mild", 0.25),
    (r"heav\w*|strong\w*|loud\w*|big|intense\w*|pouring|roaring|crashing|raging|busy|huge|powerful|stormy|storm", 0.8),
    (r"violent\w*|extreme\w*|massive|deafening|torrential|hurricane|gale|blizzard|furious\w*|terrif\w*", 1.0),
)  # fmt: skip
_LEVELS = (
    (r"faint\w*|distant\w*|far(?: away| off)?|background|barely|quiet\w*|soft\w*", -8.0),
    (r"loud\w*|close|nearby|foreground", 3.0),
)
_PACES = ((r"slow\w*|unhurried|leisurely", 0.7), (r"fast\w*|quick\w*|rapid\w*|hurried|racing|frantic\w*", 1.5))
_NOT = re.compile(r"\b(?:no|without|not|never|excluding|except|minus|free of)\b")
_CLAUSES = re.compile(r"[,;.!?\n]+|\band\b|\bwith\b|\bwhile\b|\bover\b|\bplus\b|\bas\b|&|\+")


@dataclass(frozen=True, slots=True)
class Asked:
    """One effect as a prompt asks for it."""

    known: Known
    strength: float = 0.5
    level_db: float = 0.0  # beside the others
    pace: float = 1.0
    words: frozenset[str] = frozenset()


class UnknownSound(ValueError):
    """No word of a prompt is the name of a sound that can be made here."""

    def __init__(self, prompt: str) -> None:
        said = prompt.strip()[:120]
        super().__init__(
            f"no sound is known for {said!r}. The offline sound effects are: {', '.join(k.name for k in EFFECTS)}; "
            "name one or more of them, or words like them (downpour, surf, footsteps on gravel, city at night)"
        )


def asked_of(prompt: str) -> tuple[Asked, ...]:
    """The effects that a prompt names, at most MOST, in the order said. Raises UnknownSound where there is none."""
    found: dict[str, Asked] = {}
    refused: set[str] = set()
    whole = frozenset(re.findall(r"\w+", prompt.lower()))
    for clause in _CLAUSES.split(prompt.lower()):
        if not clause or not clause.strip():
            continue
        wanted, _, unwanted = _split(clause)
        refused |= {known.name for known, _ in _named(unwanted)}
        for known, word in _named(wanted):
            asked = Asked(
                known, _first(_STRENGTHS, wanted, 0.5), known.level_db + _first(_LEVELS, wanted, 0.0),
                _first(_PACES, wanted, 1.0), frozenset(re.findall(r"\w+", wanted)),
            )  # fmt: skip
            if known.name == "steps":  # what is walked on may stand in another clause
                asked = replace(asked, words=whole)
            found.setdefault(known.name, asked)
            del word
    kept = [asked for name, asked in found.items() if name not in refused]
    if not kept:
        raise UnknownSound(prompt)
    return tuple(kept[:MOST])


def _split(clause: str) -> tuple[str, str, str]:
    match = _NOT.search(clause)
    return (clause, "", "") if match is None else (clause[: match.start()], match[0], clause[match.end() :])


def _named(clause: str) -> list[tuple[Known, str]]:
    """The effects whose words a clause has, in the order said; places only where nothing else is named."""
    hits = []
    for known in EFFECTS:
        match = re.search(rf"\b(?:{known.words})\b", clause)
        if match:
            hits.append((match.start(), known, match[0]))
    hits.sort(key=lambda hit: hit[0])
    sounds = [(known, word) for _, known, word in hits if not _PLACES.match(word)]
    return sounds or [(known, word) for _, known, word in hits]


def _first(table: Iterable[tuple[str, float]], clause: str, otherwise: float) -> float:
    return next((value for words, value in table if re.search(rf"\b(?:{words})\b", clause)), otherwise)


def unwanted_of(negative: str) -> frozenset[str]:
    """Names of the effects that a negative prompt mentions."""
    return frozenset(known.name for known, _ in _named(negative.lower()))
