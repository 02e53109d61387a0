"""What a clip's words ask for: the scene, what changes on the way, where the camera goes, which references are meant.

A prompt may hold stamps, `[00:02] pan left, it grows dark`: what follows one begins there. Camera language within a
prompt is taken only where it cannot be meant otherwise ("the camera rises", "slow dolly in", not "rolling hills").
The embedded worlds read a small vocabulary; for them a prompt becomes the words that they know, and what later words
do not mention stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from .camera_moves import Move
from .camera_text import DIRECTIONS, SPEEDS, STAMP, VERBS, parse
from .procedural import captions
from .procedural.attributes import MOODS, THEMES, TIMES, WEATHERS

MOST_NAMED = 12  # unknown words in a note
TAG = re.compile(r"@([A-Za-z][A-Za-z0-9_]*)")
GENTLE = "slow dolly in"  # where nobody says what the camera does: a world without motion would be a picture
_CLAUSES = re.compile(r"[.,;\n]|\bthen\b")
_CAMERA = re.compile(r"\b(?:camera|lens|handheld|hand-held|static shot|locked[ -]off)\b", re.IGNORECASE)
_FILM = re.compile(
    r"\b(?:doll(?:y|ies|ying)|truck(?:s|ing)?|pedestal(?:s|ing)?|pan(?:s|ning)?|tilt(?:s|ing)?|orbit(?:s|ing)?"
    r"|cran(?:e|es|ing)|zoom(?:s|ing)?|push(?:es|ing)?|pull(?:s|ing)?)"
    r"\s+(?:\w+ly\s+)?(?:to\s+the\s+)?(?:" + "|".join(DIRECTIONS) + r")\b",
    re.IGNORECASE,
)
_TRADE = frozenset({"camera", "shot", "lens", "handheld", "static", "then", "cinematic"})
_SLOTS = {"theme": THEMES, "time": TIMES, "weather": WEATHERS, "mood": MOODS}


@dataclass(frozen=True, slots=True)
class Moment:
    """New words on the way."""

    at_s: float
    prompt: str


@dataclass(frozen=True, slots=True)
class Words:
    """A clip's words, read. `moments` are in order of time and later than 0."""

    prompt: str  # as the model reads it at the start
    moments: tuple[Moment, ...]
    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    camera_said: bool = True  # whether anybody said what the camera does


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model sees in a picture that was given: the caption is empty where it cannot say."""

    name: str  # the tag of a reference, or what a person would call the picture
    caption: str


def read_words(
    prompt: str,
    seconds: float,
    camera: str = "",
    moments: Sequence[Moment] = (),
    references: Sequence[Seen] = (),
    first: Seen | None = None,
    limited: bool = True,
) -> Words:
    """`limited` is for worlds that read a small vocabulary (`World.themes` is not empty). `first` is the picture that
    the clip begins from: what it shows fills what the prompt does not say.

    Raises ValueError on a camera text that cannot be read and on moments that are not within the clip.
    """
    for moment in moments:
        if not 0.0 <= moment.at_s < seconds:
            raise ValueError(f"a moment lies within the clip's {seconds:g} s, not at {moment.at_s:g} s")
    notes: list[str] = []
    said = with_references(prompt, references, notes, limited)
    stretches = _stretches(said, seconds, notes)
    stretches += [(m.at_s, with_references(m.prompt, references, notes, limited)) for m in moments]
    stretches.sort(key=lambda stretch: stretch[0])  # stable: of two at one time the later one holds
    moves, camera_said = _moves(said, camera, seconds, notes)
    if limited:
        fill = [*([first] if first is not None else []), *([] if TAG.search(prompt) else references[:1])]
        return replace(_limited(stretches, fill, moves, notes), camera_said=camera_said)
    texts = [(at, text.strip()) for at, text in stretches]
    begin = next((text for at, text in texts if at == 0.0), "")
    later = tuple(Moment(at, text) for at, text in texts if at > 0.0 and text)
    return Words(begin, later, moves, tuple(dict.fromkeys(notes)), camera_said)


def with_references(prompt: str, references: Sequence[Seen], notes: list[str], limited: bool) -> str:
    """The prompt with every `@tag` replaced by what its picture shows, less what the prompt says itself."""
    known = {seen.name: seen for seen in references if seen.name}
    own = captions.parse(TAG.sub(" ", prompt))

    def replaced(match: re.Match[str]) -> str:
        seen = known.get(match[1])
        if seen is None:
            notes.append(f"there is no reference {match[0]}: it is left out")
            return " "
        if not seen.caption:
            notes.append(f"this model cannot say what {match[0]} shows: only the other words are used")
            return " "
        used = _missing(seen.caption, own) if limited else seen.caption
        notes.append(f"{match[0]} is read as {used!r}" if used else f"{match[0]}: the prompt says all of it already")
        return f" {used} "

    out = TAG.sub(replaced, prompt)
    unused = [name for name in known if f"@{name}" not in prompt]
    if unused and TAG.search(prompt):
        notes.append(f"not spoken of in the prompt, so not used: {', '.join('@' + name for name in unused)}")
    return out


def _missing(caption: str, own: captions.Hints) -> str:
    """The parts of a caption that `own` does not say."""
    seen = captions.parse(caption)
    return ", ".join(_named(_Hints(**{slot: getattr(seen, slot) for slot in _SLOTS if getattr(own, slot) is None})))


_Hints = captions.Hints


def _named(hints: captions.Hints) -> list[str]:
    values = [(names, getattr(hints, slot)) for slot, names in _SLOTS.items()]
    return [names[value] for names, value in values if value is not None]


def _stretches(said: str, seconds: float, notes: list[str]) -> list[tuple[float, str]]:
    """(start, words) between stamps. A stamp beyond the end is said and left out."""
    texts = STAMP.split(said)[::3]
    starts = [0.0, *(60.0 * int(m[1]) + float(m[2]) for m in STAMP.finditer(said))]
    out = []
    for at, text in zip(starts, texts, strict=True):
        if at >= seconds:
            notes.append(f"the prompt speaks of {at:g} s, but the clip ends at {seconds:g} s: that part is left out")
        elif text.strip():
            out.append((at, text))
    return out


def _moves(said: str, camera: str, seconds: float, notes: list[str]) -> tuple[tuple[Move, ...], bool]:
    """The camera's moves: its own text's, or the prompt's, or else a gentle one; whether anybody asked for them."""
    if camera.strip():
        script = parse(camera, seconds)
        notes += script.notes
        return script.moves, True
    asked = _camera_part(said, seconds)
    if asked:
        script = parse(asked, seconds)
        notes.append(f"camera, from the prompt: {asked.strip()!r}")
        return script.moves, True
    return parse(GENTLE, seconds).moves, False


def _camera_part(said: str, seconds: float) -> str:
    """The clauses of a prompt that are camera language, with the stamps before them; empty where there are none."""
    out, found, at = [], False, -1.0
    pieces = STAMP.split(said)
    for i in range(0, len(pieces), 3):
        if i:
            start = 60.0 * int(pieces[i - 2]) + float(pieces[i - 1])
            if not at < start < seconds or float(pieces[i - 1]) >= 60.0:
                continue
            at = start
            out.append(f" [{pieces[i - 2]}:{pieces[i - 1]}] ")
        clauses = [c for c in _CLAUSES.split(pieces[i]) if _CAMERA.search(c) or _FILM.search(c)]
        clauses = [c for c in clauses if parse(c, 1.0).moves]
        found = found or bool(clauses)
        out.append(" then ".join(clauses) if clauses else "static" if i else "")
    return "".join(out)[:2_000] if found else ""


def _limited(
    stretches: list[tuple[float, str]], fill: Sequence[Seen], moves: tuple[Move, ...], notes: list[str]
) -> Words:
    """For the embedded worlds: known words only; what later words do not mention stays."""
    begin = " , ".join(text for at, text in stretches if at == 0.0)
    _name_unknown([text for _, text in stretches], notes)
    prompt, hints = _known(begin), captions.parse(begin)
    for seen in fill:
        more = _missing(seen.caption, hints)
        if more:
            notes.append(f"{seen.name or 'the reference'} is read as {more!r}")
            prompt, hints = ", ".join(filter(None, [prompt, more])), _over(hints, captions.parse(more))
    later = []
    for at, text in stretches:
        known = _known(text)
        if at <= 0.0 or not known:
            continue
        new = captions.parse(text)
        kept = _named(_Hints(**{s: getattr(hints, s) for s in _SLOTS if getattr(new, s) is None}))
        later.append(Moment(at, ", ".join([known, *kept])))
        hints = _over(new, hints)
    return Words(prompt, tuple(later), moves, tuple(dict.fromkeys(notes)))


def _over(new: captions.Hints, old: captions.Hints) -> captions.Hints:
    chosen: Mapping[str, int | None] = {
        f.name: getattr(old, f.name) if getattr(new, f.name) is None else getattr(new, f.name) for f in fields(_Hints)
    }
    return _Hints(**chosen)


def _known(text: str) -> str:
    """What a text comes down to. Of a long one the model would read the first words alone, and strange words mislead
    it: how much that matters, benchmarks/clips.py measures."""
    return ", ".join(captions.meant(text) or captions.understood(text))


def _name_unknown(texts: Sequence[str], notes: list[str]) -> None:
    trade = _TRADE | SPEEDS.keys() | DIRECTIONS.keys()
    verbs = re.compile("|".join(verb for verb, _, _ in VERBS), re.IGNORECASE)
    unknown = [w for text in texts for w in captions.unknown(text) if w not in trade and not verbs.fullmatch(w)]
    unknown = list(dict.fromkeys(unknown))
    if unknown:
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        notes.append(f"words that this model does not know: {', '.join(unknown[:MOST_NAMED])}{more}")
