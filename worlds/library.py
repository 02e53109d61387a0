"""Any world on this machine by its name: embedded ones and open checkpoints."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import weights
from .core import World
from .errors import WeightsError
from .model_card import card_path, find_card, models_folder
from .options import OpenOptions


def load_any_world(
    name: str | None,
    data: Path,
    engine: str = "auto",
    steps: int | None = None,
    options: OpenOptions | None = None,
    clips: bool = False,
    threads: int | None = None,
) -> World:
    """Embedded worlds go first; None is the first of them. `options` are of an open checkpoint, `threads` of embedded
    worlds on a CPU (None: all cores but one). With `clips`, a checkpoint that only draws whole clips is one too: its
    `rollout` is refused.

    Raises WeightsError, MemoryRefused or ValueError, all of one line.
    """
    embedded = {card.name for card in weights.catalogue(data)}
    if name is None or name in embedded:
        return weights.load_world(name, data, engine=engine, steps=steps, threads=threads)
    if not is_open(name, data):
        raise WeightsError(f"there is no world named {name!r}; worlds on this machine: {', '.join(names(data))}")
    opening: Any = importlib.import_module(".wan.world", __package__)  # not for those who walk in embedded worlds
    card = find_card(data, name)
    load = opening.load_open_world
    if clips and not importlib.import_module(".wan.families", __package__).family(card.family).causal:
        load = importlib.import_module(".wan.clip_world", __package__).load_clip_world
    world: World = load(card, data, replace(options or OpenOptions(), engine=engine))
    return world if steps is None else world.with_steps(steps)


def is_open(name: str, data: Path) -> bool:
    """Whether a name is that of an open checkpoint in the catalogue. Raises WeightsError on what can be no name."""
    return card_path(data, name).is_file()


def names(data: Path) -> list[str]:
    """Of all worlds, embedded ones first."""
    return [c.name for c in weights.catalogue(data)] + sorted(p.stem for p in models_folder(data).glob("[!.]*.json"))
