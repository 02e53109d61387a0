"""The size of a snapshot counts what it keeps alive, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.test_memory import there_and_back
from tests.worlds.test_rollout import begun, play
from tests.worlds.tiny_world import rollout
from worldstream.worlds.core import Action
from worldstream.worlds.footprint import Held, footprint


def footprint_bytes(state: object) -> int:
    return sum(footprint(state).values())


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


def test_remembered_places_count_once_among_snapshots() -> None:
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
    held = Held()
    held.keep_only({1: footprint(state)})
    alone = held.bytes
    assert alone == footprint_bytes(state)
    held.keep_only({1: footprint(state), 2: footprint(later)})
    assert held.bytes - alone < footprint_bytes(later) - sum(place.latent.nbytes for place in places)


@given(st.lists(st.dictionaries(st.integers(0, 5), st.sets(st.integers(0, 9)), max_size=5), max_size=12))
def test_what_is_held_together_counts_once(turns: list[dict[int, set[int]]]) -> None:
    """Whatever is kept and let go: the sum is that of the union. A snapshot's parts never change while it is held."""
    held = Held()
    known: dict[int, dict[int, int]] = {}
    for turn in turns:
        known = {key: known.get(key, {part: 10 + part for part in parts}) for key, parts in turn.items()}
        held.keep_only(known)
        assert held.bytes == sum(10 + part for part in {part for parts in known.values() for part in parts})
