"""Frames that somebody else drew, drawn again: near them at little noise, a walk's own at much."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worlds.test_rollout import actions, begun
from tests.worlds.tiny_world import NETWORK, rollout
from worldstream.worlds.core import Action


def latents(count: int, seed: int = 5) -> list[torch.Tensor]:
    """Of frames that somebody else drew."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 1, NETWORK.channels, NETWORK.rows, NETWORK.columns, generator=g) for _ in range(count)]


def redrawn(level: float, known: list[torch.Tensor], prompt: str = "forest", seed: int = 3) -> list[torch.Tensor]:
    walk = begun(seed, prompt)
    return [walk.redraw(latent, action, level) for latent, action in zip(known, actions(len(known)), strict=True)]


def test_a_frame_that_is_redrawn_stays_near_what_it_was_the_less_noise_it_gets() -> None:
    known = latents(1)
    far = [float((redrawn(level, known)[0] - known[0]).abs().mean()) for level in (1e-3, 1.0)]
    again = redrawn(1.0, known)
    assert torch.equal(again[0], redrawn(1.0, known)[0]), "the seed decides"
    assert not torch.equal(again[0], redrawn(1.0, known, seed=4)[0])
    assert not torch.equal(again[0], redrawn(1.0, known, prompt="desert")[0])
    assert far[0] != far[1]


def test_redrawing_from_pure_noise_is_drawing_and_what_was_known_has_no_say() -> None:
    one, other = redrawn(1.0, latents(4, 5)), redrawn(1.0, latents(4, 6))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)
    walk = begun(3)
    drawn = [walk.decoded(latent) for latent in one]
    played = [frame.rgb for action in actions(4) for frame in walk.step(action)]
    for mine, theirs in zip(drawn, played, strict=True):
        assert np.abs(mine.astype(int) - theirs).max() <= 1


def test_what_was_redrawn_is_the_history_of_the_next_frame() -> None:
    first, second = latents(2, 5), latents(2, 6)
    whole = redrawn(0.5, first)
    mixed = redrawn(0.5, [second[0], first[1]])
    assert not torch.equal(whole[1], mixed[1]), "the same frame after another one becomes another"
    walk = begun(3)
    for latent, action in zip(first, actions(2), strict=True):
        walk.redraw(latent, action, 0.5)
    assert walk.index == 2
    with pytest.raises(AssertionError, match="reset before redraw"):
        rollout().redraw(first[0], Action(), 0.5)
