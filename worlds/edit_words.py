"""What a prompt asks of a video: the attributes that it names, and the words for all of the picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .procedural.attributes import MOODS, THEMES, TIMES, WEATHERS
from .procedural.captions import Hints, parse, understood, unknown

_NAMES = (THEMES, TIMES, WEATHERS, MOODS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the picture should become. `hints` names what changes; `words` are the prompt itself."""

    words: str
    hints: Hints

    @property
    def named(self) -> tuple[str, ...]:
        """The attributes that were understood, e.g. ("night", "foggy")."""
        pairs = zip(_NAMES, _indices(self.hints), strict=True)
        return tuple(names[index] for names, index in pairs if index is not None)

    def prompt(self, caption: str) -> str:
        """Words for the whole edited picture: what the wish does not name is as `caption` has it."""
        seen = _indices(parse(caption))
        wanted = _indices(self.hints)
        both = (w if w is not None else s for w, s in zip(wanted, seen, strict=True))
        named = [names[i] for names, i in zip(_NAMES, both, strict=True) if i is not None]
        free = [word for word in understood(self.words) if word not in named] if not self.named else []
        return ", ".join([*named, *free])

    def whole(self, caption: str) -> Hints:
        """Every attribute of the edited picture, but for a theme that nobody asked for: it stays as it is."""
        return replace(parse(self.prompt(caption)), theme=self.hints.theme)

    def now(self, caption: str) -> Hints:
        """What the picture shows of it before the edit."""
        seen = parse(caption)
        return seen if self.hints.theme is not None else replace(seen, theme=None)

    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the prompt was read."""
        strange = unknown(self.words)
        out = [f"understood: {', '.join(self.named)}"] if self.named else []
        if strange:
            out.append(f"words that the model does not know: {', '.join(strange[:12])}")
        if not self.named:
            out.append(
                "the prompt names no theme, time of day, weather or mood that the model knows: little will change"
            )
        return tuple(out)


def wish(prompt: str, operation: str = "") -> Wish:
    """What `prompt` asks for. A relight keeps the theme, whatever the words say of it."""
    hints = parse(prompt)
    return Wish(prompt, replace(hints, theme=None) if operation == "relight" else hints)


def _indices(hints: Hints) -> tuple[int | None, ...]:
    return hints.theme, hints.time, hints.weather, hints.mood


_SAID = (
    ("clean_plate", r"\bclean[ -]plate\b"),
    ("green", r"\bgreen[ -]?screen\b|\bchroma[ -]?key\b"),
    ("angle", r"\b(?:new|another|different|other|reverse) (?:camera )?angle\b"),
    ("remove", r"\b(?:remove|erase|delete|get rid of)\b"),
    ("background", r"\b(?:replace|change|swap) (?:the )?background\b"),
    ("replace", r"\b(?:replace|swap)\b"),
)  # fmt: skip


def operation_of(prompt: str) -> str:
    """What is to be done where nobody has said it but in words; empty: change the whole picture by the words."""
    return next((name for name, said in _SAID if re.search(said, prompt, re.IGNORECASE)), "")
