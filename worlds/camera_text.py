"""Camera moves in words: `slow dolly in`, `[00:01] the camera pans left [00:03] and pushes in slowly`.

A stamp `[mm:ss]` or `[mm:ss.fff]` begins what follows it; it lasts until the next stamp or the end. Words before the
first stamp begin at once. `then` divides a stretch evenly; anything else between two moves lets them run together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .camera_moves import Move

STAMP = re.compile(r"\[\s*(\d{1,3}):(\d{1,2}(?:\.\d{1,3})?)\s*\]")
MOST_CHARS = 2_000
LEFT, RIGHT, UP, DOWN, INTO, OUT = "left", "right", "up", "down", "in", "out"
# what is said | the move | the directions that it takes, the first where none is said
VERBS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"doll(?:y|ies|ying)|push(?:es|ing)?|track(?:s|ing)?|mov(?:e|es|ing)|walk(?:s|ing)?|glid(?:e|es|ing)"
     r"|advanc(?:e|es|ing)", "dolly", (INTO, OUT)),
    (r"pull(?:s|ing)?|back(?:s|ing)? away|retreat(?:s|ing)?", "dolly", (OUT, INTO)),
    (r"truck(?:s|ing)?|straf(?:e|es|ing)|slid(?:e|es|ing)", "truck", (RIGHT, LEFT)),
    (r"pedestal(?:s|ing)?|boom(?:s|ing)?|ris(?:e|es|ing)|lift(?:s|ing)?", "pedestal", (UP, DOWN)),
    (r"descend(?:s|ing)?|lower(?:s|ing)?|sink(?:s|ing)?", "pedestal", (DOWN, UP)),
    (r"pan(?:s|ning)?|turn(?:s|ing)?|swivel(?:s|ling)?", "pan", (RIGHT, LEFT)),
    (r"tilt(?:s|ing)?|look(?:s|ing)?", "tilt", (UP, DOWN)),
    (r"roll(?:s|ing)?", "roll", (RIGHT, LEFT)),
    (r"orbit(?:s|ing)?|circl(?:e|es|ing)|arc(?:s|ing)?", "orbit", (RIGHT, LEFT)),
    (r"cran(?:e|es|ing)", "crane", (UP, DOWN)),
    (r"zoom(?:s|ing)?", "zoom", (INTO, OUT)),
    (r"hand-?\s?held|shak(?:e|es|ing|y)", "handheld", ()),
    (r"static|locked(?:[ -]off)?|hold(?:s|ing)?(?: still)?|stand(?:s|ing)? still", "static", ()),
)  # fmt: skip
DIRECTIONS = {
    "left": LEFT, "anticlockwise": LEFT, "counterclockwise": LEFT, "right": RIGHT, "clockwise": RIGHT, "up": UP,
    "upwards": UP, "upward": UP, "down": DOWN, "downwards": DOWN, "downward": DOWN, "in": INTO, "forward": INTO,
    "forwards": INTO, "towards": INTO, "closer": INTO, "out": OUT, "back": OUT, "backward": OUT, "backwards": OUT,
    "away": OUT,
}  # fmt: skip
SPEEDS = {
    "imperceptibly": 0.15, "gently": 0.5, "gentle": 0.5, "slow": 0.5, "slowly": 0.5, "steadily": 1.0, "quick": 2.0,
    "quickly": 2.0, "fast": 2.0, "rapid": 2.5, "rapidly": 2.5, "whip": 4.0,
}  # fmt: skip
_SAID = re.compile("|".join(f"(?P<v{i}>\\b(?:{verb})\\b)" for i, (verb, _, _) in enumerate(VERBS)), re.IGNORECASE)
_THEN = re.compile(r"\bthen\b|;", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CameraScript:
    """The moves that a text asks for, and what was not understood."""

    moves: tuple[Move, ...]
    notes: tuple[str, ...]


def parse(text: str, duration_s: float) -> CameraScript:
    """The moves of a text over `duration_s` seconds.

    Raises ValueError when the text is too long, when a stamp is not later than the one before it, or not before the
    end.
    """
    if len(text) > MOST_CHARS:
        raise ValueError(f"camera text may have {MOST_CHARS} characters, got {len(text)}; shorten it")
    if not duration_s > 0.0:
        raise ValueError(f"the duration must be above 0 s, got {duration_s}")
    moves: list[Move] = []
    notes: list[str] = []
    for start_s, end_s, said in _stretches(text, duration_s):
        parts = [part for part in _THEN.split(said) if part.strip(" .,…-–")]
        each_s = (end_s - start_s) / max(1, len(parts))
        for i, part in enumerate(parts):
            begin = start_s + i * each_s
            found = _moves(part, begin, begin + each_s)
            moves += found
            if not found:
                notes.append(f"no camera move in {part.strip()[:60]!r}: the camera holds still")
    return CameraScript(tuple(moves), tuple(notes))


def _stretches(text: str, duration_s: float) -> list[tuple[float, float, str]]:
    """(start, end, words) between stamps."""
    stamps = list(STAMP.finditer(text))
    starts = [60.0 * int(m[1]) + float(m[2]) for m in stamps]
    for before, after, stamp in zip([-1.0, *starts], starts, stamps, strict=False):
        if float(stamp[2]) >= 60.0:
            raise ValueError(f"{stamp[0]} is not a time: seconds end at 59")
        if after <= before:
            raise ValueError(f"{stamp[0]} comes after {before:g} s in the text but not in time; put the times in order")
        if after >= duration_s:
            raise ValueError(f"{stamp[0]} is not before the end, {duration_s:g} s; use an earlier time")
    edges = [*starts, duration_s]
    words = STAMP.split(text)[::3]
    stretches = [(0.0, edges[0], words[0])] if edges[0] > 0.0 else []
    return stretches + list(zip(edges, edges[1:], words[1:], strict=False))


def _moves(said: str, start_s: float, end_s: float) -> list[Move]:
    """The moves of one stretch, all at once. Each takes its direction and speed from the words up to the next."""
    found = list(_SAID.finditer(said))
    moves: dict[str, Move] = {}
    for i, match in enumerate(found):
        _, base, directions = VERBS[int(str(match.lastgroup)[1:])]
        after = said[match.end() : found[i + 1].start() if i + 1 < len(found) else len(said)]
        before = said[(found[i - 1].end() if i else 0) : match.start()]
        name = f"{base} {_direction(before, after, directions)}".strip() if directions else base
        if base == "dolly" and (side := _direction("", after, (LEFT, RIGHT), default="")):
            name = f"truck {side}"  # "moves left"
        if base == "dolly" and (side := _direction("", after, (UP, DOWN), default="")):
            name = f"pedestal {side}"
        moves.setdefault(name, Move(name, start_s, end_s, _speed(before, after)))
    return list(moves.values())


def _direction(before: str, after: str, directions: tuple[str, ...], default: str | None = None) -> str:
    for words in (re.findall(r"[a-z]+", after.lower()), re.findall(r"[a-z]+", before.lower())[::-1]):
        for word in words:
            if DIRECTIONS.get(word) in directions:
                return DIRECTIONS[word]
    return directions[0] if default is None else default


def _speed(before: str, after: str) -> float:
    nearest = re.findall(r"[a-z]+", before.lower())[-2:][::-1] + re.findall(r"[a-z]+", after.lower())
    return next((SPEEDS[word] for word in nearest if word in SPEEDS), 1.0)
