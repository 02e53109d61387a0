"""Clips are drawn with the actions, words and histories that belong to them."""

from __future__ import annotations

import numpy as np
import torch

from worldstream.worlds.training.clips import Clips


def numbered_clips(episodes: int = 3, frames: int = 30) -> Clips:
    """Latents and actions hold the number of their frame; words 1 before frame 15, 2 from it on."""
    numbers = torch.arange(float(frames)).view(1, 1, frames, 1, 1, 1)
    latents = numbers.expand(2, episodes, frames, 1, 2, 2).half()
    actions = numbers.view(1, 1, frames, 1).expand(2, episodes, frames, 7).clone()
    words = torch.tensor([1, 2]).view(1, 2, 1, 1).expand(episodes, 2, 3, 4).clone()
    return Clips(latents, actions, words, torch.full((episodes,), 15))


def test_drawn_clips_match_their_actions() -> None:
    batch = numbered_clips().draw(np.random.default_rng(0), 400, 4, 3, 0.1)
    frame = batch.clips[:, :, 0, 0, 0]
    torch.testing.assert_close(frame[:, 3:], frame[:, 3:4] + torch.arange(4.0), rtol=0, atol=0)
    torch.testing.assert_close(batch.actions[:, 1:, 0], frame[:, 4:], rtol=0, atol=0)
    blank = batch.blank
    assert 0.02 < float(blank.float().mean()) < 0.12
    assert (batch.actions[blank, 0, :5] == 0).all(), "no motion leads into the first frame"
    assert (frame[blank, :3] == frame[blank, 3:4]).all()
    usual = ~blank & (frame[:, 1] != frame[:, 2])
    torch.testing.assert_close(frame[usual], frame[usual, :1] + torch.arange(7.0), rtol=0, atol=0)
    assert 0.75 < float(usual.float().mean()) < 0.95
    later = frame[:, -1] >= 15
    told = batch.words[:, 0, 0]
    assert set(told[later].tolist()) == {0, 2}
    assert set(told[~later].tolist()) == {0, 1}
    assert 0.04 < float((told == 0).float().mean()) < 0.18
