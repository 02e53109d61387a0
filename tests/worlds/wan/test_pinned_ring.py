"""A buffer is never handed out again while anyone holds its array, or any part of it."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest

from worldstream.worlds.wan.pinned_ring import PinnedRing


def test_buffers_go_round_once_they_are_let_go() -> None:
    ring = PinnedRing((4, 6), 2, pinned=False)
    places = []
    for _ in range(6):
        memory, array = ring.take()
        places.append(memory.data_ptr())
        del array
    assert len(set(places)) == 1, "one buffer is enough where every picture is read at once"
    assert ring.bytes == 24
    assert ring.refused == 0


def test_a_part_of_a_picture_holds_its_buffer() -> None:
    """An encoder may keep a plane, a viewer a corner: views of views count, the first array need not live."""
    ring = PinnedRing((3, 4, 6), 1, pinned=False)
    memory, array = ring.take()
    memory.fill_(7)
    corner = array[1][1:, 2:].T
    del array
    gc.collect()
    other, _ = ring.take()
    assert other.data_ptr() != memory.data_ptr()
    other.fill_(9)
    assert (corner == 7).all()
    assert ring.refused == 1
    del corner
    again, _ = ring.take()
    assert again.data_ptr() == memory.data_ptr()


@pytest.mark.parametrize("seed", range(5))
def test_no_reader_ever_sees_another_picture(seed: int) -> None:
    """Readers come and go at random, some slower than the ring is long."""
    chance, ring = random.Random(seed), PinnedRing((2, 8), 4, pinned=False)
    held: list[tuple[int, np.ndarray]] = []
    for number in range(300):
        memory, array = ring.take()
        memory.fill_(number % 251)
        held.append((number % 251, array[chance.randrange(2)]))
        del array
        chance.shuffle(held)
        del held[chance.randrange(8) :]
        assert all((part == value).all() for value, part in held)
    assert ring.refused > 0
    assert ring.bytes == 4 * 16


def test_a_ring_has_slots() -> None:
    with pytest.raises(ValueError, match="got 0"):
        PinnedRing((1,), 0)
