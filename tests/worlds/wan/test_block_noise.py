"""Noise that is made early is the noise that would have been made in time, whatever comes between."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.wan.block_noise import BlockNoise

SHAPE = (1, 2, 1, 2, 2)
STEPS = st.lists(st.sampled_from(["take", "take more", "prepare", "save", "restore", "seed"]), max_size=20)


def noise() -> BlockNoise:
    made = BlockNoise(SHAPE, torch.device("cpu"), torch.float32)
    made.seed(3)
    return made


@given(STEPS)
def test_nobody_can_tell(steps: list[str]) -> None:
    """Beside one that never makes anything early: the same numbers after any order of calls."""
    early, plain = noise(), noise()
    saved = early.state, plain.state
    for step in steps:
        if step.startswith("take"):
            count = 3 if step == "take more" else 2
            assert torch.equal(torch.cat(early.take(count)), torch.cat(plain.take(count)))
        elif step == "prepare":
            early.prepare(2)
        elif step == "save":
            saved = early.state, plain.state
        elif step == "restore":
            early.state, plain.state = saved
        else:
            early.seed(5)
            plain.seed(5)
        assert torch.equal(early.state, plain.state)


def test_what_was_made_early_is_taken() -> None:
    made = noise()
    made.prepare(2)
    (prepared, _), again = made.take(2), noise().take(2)[0]
    assert torch.equal(prepared, again)
    assert not torch.equal(made.take(1)[0], prepared)
