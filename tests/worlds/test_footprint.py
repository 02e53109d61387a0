"""The size of a snapshot counts what it keeps alive, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.worlds.test_memory import there_and_back
from tests.worlds.test_rollout import begun, play
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


def test_remembered_places_count_in_every_snapshot() -> None:
    """Snapshots share them; the walk may forget them, and then a snapshot alone keeps them alive."""
    walk = begun()
    play(walk, there_and_back())
    state = walk.snapshot()
    places = state.places[0]
    assert len(places) > 2
    counted = footprint_bytes(state) - footprint_bytes(replace(state, places=((), ())))
    assert (
        sum(place.latent.nbytes for place in places)
        < counted
        < 1000 * len(places) + sum(p.latent.nbytes for p in places)
    )
    later = walk.snapshot()
    assert {id(place) for place in later.places[0]} == {id(place) for place in places}
