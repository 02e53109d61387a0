"""The local catalogue: which model of this machine answers to which name of the API, at what price, how many at once.

Names of Runway and of other makers are aliases. A name that is not listed is answered by the server's own world, at the
usual price of its endpoint. The operator's file `models/aliases.json` in the data folder changes and adds names:

    {"gen4.5": {"model": "alps", "credits_per_second": 0, "concurrency": 1},
     "my-film": {"like": "gen4.5", "model": "/path/of/a/checkpoint"}}

`like` makes a new name that takes the same members as an existing one. The prices that come with the server are those
that the hosted API publishes, where it does; they cost nobody anything unless the operator turns credits on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

FILE = Path("models") / "aliases.json"
MAX_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Alias:
    """What a name of the API means on this machine. Prices add up; a task costs whole credits."""

    model: str = ""  # a world by name or path; empty: the one that the server runs
    draft: bool = False  # fewer denoising steps of the same seed
    concurrency: int = 2  # tasks at once; the others wait as THROTTLED
    credits_per_task: float = 0.0
    credits_per_second: float = 0.0
    credits_per_picture: float = 0.0
    credits_per_1000_characters: float = 0.0
    least_seconds: float = 0.0  # billed at least
    like: str = ""  # takes the members of this one

    def __post_init__(self) -> None:
        for name in _PRICES:
            value = getattr(self, name)
            if not 0 <= value < 1e6:
                raise ValueError(f"{name} must be in [0, 1000000), not {value}")
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")

    def cost(self, *, seconds: float = 0.0, pictures: int = 0, characters: int = 0, surcharge: float = 0.0) -> int:
        """Whole credits of one task; `surcharge` is per second."""
        found = self.credits_per_task + self.credits_per_picture * pictures
        found += (self.credits_per_second + surcharge) * max(seconds, self.least_seconds if seconds else 0.0)
        return math.ceil(found + self.credits_per_1000_characters * characters / 1000 - 1e-9)


_PRICES = (
    "credits_per_task",
    "credits_per_second",
    "credits_per_picture",
    "credits_per_1000_characters",
    "least_seconds",
)
DEFAULTS: dict[str, Alias] = {
    "gen4.5": Alias(credits_per_second=12),
    "gen4_turbo": Alias(credits_per_second=5, draft=True),
    "gen3a_turbo": Alias(credits_per_second=5, draft=True),
    "gen4_aleph": Alias(credits_per_second=15),
    "aleph2": Alias(credits_per_second=28),
    "act_two": Alias(credits_per_second=5, least_seconds=3),
    "gen4_image": Alias(credits_per_picture=8),
    "gen4_image_turbo": Alias(credits_per_picture=2, draft=True),
    "ruby": Alias(credits_per_second=20),
    "enhance_frame_rate": Alias(credits_per_second=1),
    "upscale_v1": Alias(credits_per_second=2),
    "robotics_v1": Alias(credits_per_second=5),
    "gwm1_avatars": Alias(credits_per_second=2 / 6),  # 2 credits a started 6 s
    "magnific_precision_upscaler_v2": Alias(credits_per_picture=10),
    "magnific_video_upscaler_creative": Alias(credits_per_second=2),
    "mirelo_sfx_2_0": Alias(credits_per_second=1),
    "eleven_text_to_sound_v2": Alias(credits_per_second=1),
    "eleven_multilingual_v2": Alias(credits_per_1000_characters=20),
    "eleven_v3": Alias(credits_per_1000_characters=20),
    "eleven_v4": Alias(credits_per_1000_characters=20),
    "seed_audio": Alias(credits_per_1000_characters=20),
    "eleven_multilingual_sts_v2": Alias(credits_per_second=1),
    "eleven_voice_dubbing": Alias(credits_per_second=1),
    "eleven_voice_isolation": Alias(credits_per_second=1),
}
_USUAL = {
    "clip": Alias(credits_per_second=12),
    "edit": Alias(credits_per_second=15),
    "still": Alias(credits_per_picture=5),
}
_SURCHARGES = {"mp4": 0.0, "mov": 0.0, "prores": 5.0, "png_sequence": 5.0}  # credits a second; deeper formats 20, or 40
LARGE_PX = 4_000_000


def surcharge(video_format: str, width_px: int, height_px: int) -> float:
    """Credits a second for a format beyond plain mp4."""
    deep = 40.0 if width_px * height_px > LARGE_PX else 20.0
    return _SURCHARGES.get(video_format, deep)


class Catalogue:
    """Aliases by name. Immutable; an edited file counts when the server starts again."""

    def __init__(self, aliases: Mapping[str, Alias] | None = None) -> None:
        self._given = dict(aliases or {})
        self.aliases = {**DEFAULTS, **self._given}

    def of(self, name: str, kind: str = "") -> Alias:
        """What a name means; for one that nobody listed, what is usual for such a kind of job."""
        return self.aliases.get(name) or _USUAL.get(kind, Alias(credits_per_task=1))

    def stands_for(self, name: str) -> str:
        """The name whose members this one takes: its own, but for the operator's additions."""
        found = self.aliases.get(name)
        return found.like if found and found.like else name

    @property
    def concurrency(self) -> dict[str, int]:
        """Tasks at once of each listed name."""
        return {name: alias.concurrency for name, alias in self.aliases.items()}

    @property
    def places(self) -> dict[str, int]:
        """The same of the names that the operator gave, for the task board: they count before the server's usual."""
        return {name: alias.concurrency for name, alias in self._given.items()}


def read_catalogue(data: Path) -> Catalogue:
    """The operator's file over the defaults. Raises ValueError that names the file and the member."""
    path = data / FILE
    if not path.exists():
        return Catalogue()
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"is over {MAX_FILE_BYTES} bytes")
        given = json.loads(path.read_text("utf-8"))
        if not isinstance(given, dict):
            raise ValueError("must be an object of names")
        return Catalogue({name: _alias(name, members) for name, members in given.items()})
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _alias(name: str, members: Any) -> Alias:
    if not isinstance(members, dict):
        raise ValueError(f"{name} must be an object")
    kinds = {field.name: type(field.default) for field in fields(Alias)}
    for member, value in members.items():
        if member not in kinds:
            raise ValueError(f"{name}: there is no member {member!r}; there are {', '.join(kinds)}")
        fits = isinstance(value, int | float) if kinds[member] is float else isinstance(value, kinds[member])
        if not fits or (isinstance(value, bool) and kinds[member] is not bool):
            raise ValueError(f"{name}: {member} must be {kinds[member].__name__}, not {value!r}")
    like = members.get("like", "")
    base = DEFAULTS.get(like or name, Alias())
    try:
        return replace(base, **members)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
