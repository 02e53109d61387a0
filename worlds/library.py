"""Any world on this machine by its name: embedded ones and open checkpoints."""

from __future__ import annotations

from pathlib import Path

from . import weights
from .core import World
from .model_card import card_path, find_card, models_folder
from .wan.world import OpenOptions, load_open_world
from .weights import WeightsError


def load_any_world(
    name: str | None,
    data: Path,
    engine: str = "auto",
    steps: int | None = None,
    options: OpenOptions | None = None,
) -> World:
    """Embedded worlds go first; None is the first of them. `engine` is for those, `options` for open checkpoints.

    Raises WeightsError, MemoryRefused or ValueError, all of one line.
    """
    embedded = {card.name for card in weights.catalogue(data)}
    if name is None or name in embedded or not is_open(name, data):
        if name is not None and name not in embedded:
            raise WeightsError(f"there is no world named {name!r}; worlds on this machine: {', '.join(names(data))}")
        return weights.load_world(name, data, engine=engine, steps=steps)
    world = load_open_world(find_card(data, name), data, options)
    return world if steps is None else world.with_steps(steps)


def is_open(name: str, data: Path) -> bool:
    """Whether a name is that of an open checkpoint in the catalogue. Raises WeightsError on what can be no name."""
    return card_path(data, name).is_file()


def names(data: Path) -> list[str]:
    """Of all worlds, embedded ones first."""
    return [c.name for c in weights.catalogue(data)] + sorted(p.stem for p in models_folder(data).glob("[!.]*.json"))
