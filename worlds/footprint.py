"""How much memory a snapshot keeps alive. Snapshots are opaque to whoever keeps them; their size is not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np


def footprint(state: object) -> dict[int, int]:
    """Bytes of the tensors and arrays that `state` holds, each storage once, and of everything else roughly, by what
    they belong to: two snapshots that share something have it under the same key, as long as both are alive.

    Looks into dataclasses, mappings and sequences.
    """
    found: dict[int, int] = {}
    _count(state, found)
    return found


def _count(value: object, found: dict[int, int]) -> None:
    torch = sys.modules.get("torch")  # where nobody imported it there are no tensors, and seconds are saved
    if torch is not None and isinstance(value, torch.Tensor):
        storage = cast(Any, value).untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, np.ndarray):
        found[id(value)] = value.nbytes
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _count(getattr(value, field.name), found)
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        for item in value.values() if isinstance(value, Mapping) else value:
            _count(item, found)
    else:
        found[id(value)] = sys.getsizeof(value)


class Held:
    """What some snapshots keep alive together: what they share counts once."""

    def __init__(self) -> None:
        self._holders: Counter[int] = Counter()
        self._parts: dict[int, dict[int, int]] = {}  # of each snapshot, by its id
        self.bytes = 0

    def keep_only(self, snapshots: Mapping[int, dict[int, int]]) -> None:
        """These are held now, by keys that are never used again: those that are gone count no more, then those that are
        new count. In this order, because what is new may lie where something that is gone lay."""
        for key in self._parts.keys() - snapshots.keys():
            for part, size in self._parts.pop(key).items():
                self._holders[part] -= 1
                if not self._holders[part]:
                    del self._holders[part]
                    self.bytes -= size
        for key in snapshots.keys() - self._parts.keys():
            self._parts[key] = snapshots[key]
            for part, size in snapshots[key].items():
                self._holders[part] += 1
                self.bytes += size if self._holders[part] == 1 else 0
