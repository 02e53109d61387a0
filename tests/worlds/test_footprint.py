"""The size of a snapshot counts what it keeps alive, once."""

from __future__ import annotations

import numpy as np
import torch

from tests.worlds.tiny_world import rollout
from worldstream.worlds.core import Action
from worldstream.worlds.footprint import footprint_bytes


def test_storages_count_once_and_whole() -> None:
    big = torch.zeros(1000)
    assert footprint_bytes(big) == 4000
    assert footprint_bytes((big, big)) == 4000
    assert footprint_bytes({"a": big[:10]}) == 4000, "a view keeps all of it alive"
    assert footprint_bytes([big, np.zeros(10)]) == 4080


def test_a_snapshot_is_at_least_its_tensors() -> None:
    walk = rollout()
    walk.reset(0, "")
    for _ in walk.step(Action()):
        pass
    state = walk.snapshot()
    assert state.stack is not None
    least = state.cache.keys.nbytes + state.cache.values.nbytes + state.stack.nbytes + state.random.nbytes
    assert least <= footprint_bytes(state) < least + 2000
