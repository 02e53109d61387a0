"""How much memory a snapshot keeps alive. Snapshots are opaque to whoever keeps them; their size is not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np
from torch import Tensor


def footprint_bytes(state: object) -> int:
    """Bytes of the tensors and arrays that `state` holds, each storage once, and of everything else roughly.

    Looks into dataclasses, mappings and sequences. What two snapshots share is counted in both.
    """
    return _bytes(state, set())


def _bytes(value: object, seen: set[int]) -> int:
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return _once(storage.data_ptr(), storage.nbytes(), seen)
    if isinstance(value, np.ndarray):
        return _once(id(value), value.nbytes, seen)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(_bytes(getattr(value, field.name), seen) for field in fields(value))
    if isinstance(value, Mapping):
        return sum(_bytes(item, seen) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return sum(_bytes(item, seen) for item in value)
    return _once(id(value), sys.getsizeof(value), seen)


def _once(key: int, size: int, seen: set[int]) -> int:
    if key in seen:
        return 0
    seen.add(key)
    return size
