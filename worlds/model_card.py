"""The card of an open checkpoint: which files a world consists of, and what is known about them.

`<data>/models/NAME.json`. The weights stay where their owner keeps them, unless they were copied when added.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .errors import WeightsError

VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file as it was when it was added."""

    path: str  # absolute, or relative to the card's folder when it was copied there
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One part of a world."""

    role: str  # a role of wan/families.py
    entry: str  # the file to open: an index stands for its shards
    files: tuple[FileRecord, ...]
    root: str = ""  # the entry of a pickle that is used, e.g. generator_ema
    parameters: int = 0
    dtypes: tuple[str, ...] = ()  # as stored, e.g. bfloat16


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One checkpoint in the catalogue."""

    name: str
    family: str  # a name of wan/families.py
    parts: tuple[PartRecord, ...]
    licence: str = "unknown"
    source: str = "unknown"  # the card or folder that it came from
    copied: bool = False  # the weights lie in the catalogue and go with the card

    def part(self, role: str) -> PartRecord | None:
        """The part of a role; None where the world has none."""
        return next((part for part in self.parts if part.role == role), None)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for part in self.parts for file in part.files)

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, raw: object) -> ModelCard:
        """Raises ValueError on anything missing, unknown or of another type."""
        values = _fields(raw, cls, extra={"version"})
        if not isinstance(raw, Mapping) or raw.get("version") != VERSION:
            raise ValueError("it is of another version")
        parts = tuple(_part(entry) for entry in _list(values.pop("parts")))
        card = cls(parts=parts, **values)
        check_name(card.name)
        return card


def _part(raw: object) -> PartRecord:
    values = _fields(raw, PartRecord)
    files = tuple(FileRecord(**_fields(entry, FileRecord)) for entry in _list(values.pop("files")))
    dtypes = tuple(_text(entry) for entry in _list(values.pop("dtypes")))
    return PartRecord(files=files, dtypes=dtypes, **values)


def _fields(raw: object, kind: type, extra: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """The entries of a JSON object, checked against the fields of a dataclass."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{kind.__name__} is not an object")
    wanted = {entry.name: str(entry.type) for entry in fields(kind)}
    odd = raw.keys() ^ (wanted.keys() | extra)
    if odd:
        raise ValueError(f"{kind.__name__} lacks or has {sorted(map(str, odd))[0]!r}")
    for name, annotation in wanted.items():
        expected = {"str": str, "int": int, "bool": bool}.get(annotation)
        if expected is not None and type(raw[name]) is not expected:
            raise ValueError(f"{kind.__name__}.{name} must be {annotation}, got {str(raw[name])[:40]!r}")
    return {name: raw[name] for name in wanted}


def _list(raw: object) -> list[Any]:
    if not isinstance(raw, list | tuple):
        raise ValueError(f"a list was expected, got {str(raw)[:40]!r}")
    return list(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"a text was expected, got {str(raw)[:40]!r}")
    return raw


def check_name(name: str) -> str:
    """The name, if it can be a file's. Raises WeightsError."""
    if not _NAME.fullmatch(name):
        raise WeightsError(
            f"{name[:80]!r} cannot be a model's name; use up to 64 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit"
        )
    return name


def models_folder(data: Path) -> Path:
    return data / "models"


def card_path(data: Path, name: str) -> Path:
    """Where the card of a name lies. Raises WeightsError on a name that cannot be one."""
    return models_folder(data) / f"{check_name(name)}.json"


def read_card(path: Path) -> ModelCard:
    """Raises WeightsError."""
    try:
        card = ModelCard.from_json(json.loads(path.read_text(encoding="utf-8")))
        if card.name != path.stem:
            raise ValueError(f"it is the card of {card.name}")
        return card
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"the card {path} cannot be read ({reason}); remove it with `worldstream models remove {path.stem}` and "
            "add the model again"
        ) from error


def write_card(path: Path, card: ModelCard) -> None:
    """Appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(card.to_json(), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def all_cards(data: Path) -> list[ModelCard]:
    """The open checkpoints in the catalogue, by name. Raises WeightsError on a card that cannot be read."""
    return [read_card(path) for path in sorted(models_folder(data).glob("[!.]*.json"))]


def find_card(data: Path, name: str) -> ModelCard:
    """Raises WeightsError that lists what there is."""
    path = card_path(data, name)
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in models_folder(data).glob("[!.]*.json"))) or "none"
        raise WeightsError(
            f"there is no model named {name!r}; in the catalogue: {have}; add one with `worldstream models add FOLDER`"
        )
    return read_card(path)
